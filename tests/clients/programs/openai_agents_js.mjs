// OpenAI's Agents SDK for JavaScript, with its default: the Responses API.
import { Agent, OpenAIProvider, Runner, tool } from '@openai/agents';
import { z } from 'zod';
import { NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, collected, refused } from './shared.mjs';

const connect = (url, apiKey) =>
  new Runner({ modelProvider: new OpenAIProvider({ baseURL: `${url}/v1`, apiKey }), tracingDisabled: true });
const agent = (model, more = {}) => new Agent({ name: 'Assistant', instructions: 'Help.', model, ...more });

export const responses = async (url, key) => (await connect(url, key).run(agent(SCRIPTED), TEXT)).finalOutput;

export async function responses_stream(url, key) {
  const run = await connect(url, key).run(agent(SCRIPTED), TEXT, { stream: true });
  const text = await collected(run.toTextStream(), (piece) => piece);
  await run.completed;
  return text;
}

export async function tools(url, key) {
  const weather = tool({
    name: 'get_weather',
    description: 'Return the weather of a city',
    parameters: z.object({ city: z.string() }),
    execute: ({ city }) => (check(city === 'Paris', city), WEATHER),
  });
  return (await connect(url, key).run(agent(SCRIPTED, { tools: [weather] }), TEXT)).finalOutput;
}

export async function structured(url, key) {
  const outputType = z.object({ city: z.literal('Paris'), days: z.literal(2) });
  return (await connect(url, key).run(agent(REAL, { outputType }), TEXT)).finalOutput;
}

export const errors = (url, key) => refused(() => connect(url, key).run(agent(NOBODY), TEXT), [Error]);

// LangChain for JavaScript: ChatOpenAI by chat completions and by responses, embeddings.
import { HumanMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';
import { EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, collected, refused } from './shared.mjs';

const Trip = z.object({ city: z.literal('Paris'), days: z.literal(2) });
const weather = tool(({ city }) => (check(city === 'Paris', city), WEATHER), {
  name: 'get_weather',
  description: 'Return the weather of a city',
  schema: z.object({ city: z.string() }),
});
const connect = (url, apiKey, model = SCRIPTED, more = {}) =>
  new ChatOpenAI({ model, apiKey, configuration: { baseURL: `${url}/v1` }, ...more });

export const chat = async (url, key) => (await connect(url, key).invoke(TEXT)).content;

export const stream = async (url, key) => collected(await connect(url, key).stream(TEXT), (chunk) => chunk.content);

async function withTools(model) {
  const bound = model.bindTools([weather]);
  const called = await bound.invoke([new HumanMessage(TEXT)]);
  const result = await weather.invoke(called.tool_calls[0]);
  return (await bound.invoke([new HumanMessage(TEXT), called, result])).text;
}

export const tools = (url, key) => withTools(connect(url, key));

export const structured = (url, key) => connect(url, key, REAL).withStructuredOutput(Trip).invoke(TEXT);

export async function responses(url, key) {
  const more = { useResponsesApi: true };
  check((await withTools(connect(url, key, SCRIPTED, more))) === WEATHER, 'the tool');
  const trip = await connect(url, key, REAL, more).withStructuredOutput(Trip).invoke(TEXT);
  check(trip.days === 2, trip);
  return (await connect(url, key, SCRIPTED, more).invoke(TEXT)).text;
}

export const responses_stream = async (url, key) =>
  collected(await connect(url, key, SCRIPTED, { useResponsesApi: true }).stream(TEXT), (chunk) => chunk.text);

export const errors = (url, key) => refused(() => connect(url, key, NOBODY).invoke(TEXT), [Error]);

export async function embeddings(url, apiKey) {
  const model = new OpenAIEmbeddings({ model: EMBEDDER, apiKey, configuration: { baseURL: `${url}/v1` } });
  return (await model.embedQuery(TEXT)).length;
}

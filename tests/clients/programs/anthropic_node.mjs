// Anthropic's SDK for JavaScript: messages, its stream helper, its runner of tools, schemas of Zod, errors.
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { MESSAGES, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, joined, refused } from './shared.mjs';

const ASK = { max_tokens: 100, messages: MESSAGES };
const connect = (url, apiKey) => new Anthropic({ baseURL: `${url}/api`, apiKey });

export async function messages(url, key) {
  return (await connect(url, key).messages.create({ model: SCRIPTED, ...ASK })).content[0].text;
}

export async function messages_stream(url, key) {
  const stream = connect(url, key).messages.stream({ model: SCRIPTED, ...ASK });
  const pieces = [];
  stream.on('text', (delta) => pieces.push(delta));
  check((await stream.finalText()) === joined(pieces), pieces);
  return joined(pieces);
}

export async function tools(url, key) {
  const weather = betaZodTool({
    name: 'get_weather',
    description: 'Return the weather of a city',
    inputSchema: z.object({ city: z.string() }),
    run: ({ city }) => (check(city === 'Paris', city), WEATHER),
  });
  const message = await connect(url, key).beta.messages.toolRunner({ model: SCRIPTED, tools: [weather], ...ASK });
  return message.content[0].text;
}

export async function structured(url, key) {
  const format = zodOutputFormat(z.object({ city: z.literal('Paris'), days: z.literal(2) }));
  return (await connect(url, key).messages.parse({ model: REAL, output_config: { format }, ...ASK })).parsed_output;
}

export const errors = (url, key) =>
  refused(() => connect(url, key).messages.create({ model: NOBODY, ...ASK }), [Anthropic.NotFoundError]);

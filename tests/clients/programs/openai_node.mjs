// OpenAI's SDK for JavaScript: chat, its stream helper, its runner of tools, schemas of Zod, responses, errors.
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat, zodFunction } from 'openai/helpers/zod';
import { z } from 'zod';
import { EMBEDDER, MESSAGES, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, joined, refused } from './shared.mjs';

const Trip = z.object({ city: z.literal('Paris'), days: z.literal(2) });
const connect = (url, apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey });

export async function chat(url, key) {
  const answer = await connect(url, key).chat.completions.create({ model: SCRIPTED, messages: MESSAGES });
  return answer.choices[0].message.content;
}

export async function stream(url, key) {
  const stream = connect(url, key).chat.completions.stream({ model: SCRIPTED, messages: MESSAGES });
  const pieces = [];
  stream.on('content', (delta) => pieces.push(delta));
  check((await stream.finalContent()) === joined(pieces), pieces);
  return joined(pieces);
}

export async function tools(url, key) {
  const tool = zodFunction({
    name: 'get_weather',
    parameters: z.object({ city: z.string() }),
    function: ({ city }) => (check(city === 'Paris', city), WEATHER),
  });
  return connect(url, key).chat.completions.runTools({ model: SCRIPTED, messages: MESSAGES, tools: [tool] }).finalContent();
}

export async function structured(url, key) {
  const asked = { model: REAL, messages: MESSAGES, response_format: zodResponseFormat(Trip, 'trip') };
  return (await connect(url, key).chat.completions.parse(asked)).choices[0].message.parsed;
}

export async function responses(url, key) {
  const client = connect(url, key);
  const asked = { model: REAL, input: TEXT, text: { format: zodTextFormat(Trip, 'trip') } };
  check((await client.responses.parse(asked)).output_parsed.days === 2, 'the schema');
  return (await client.responses.create({ model: SCRIPTED, input: TEXT })).output_text;
}

export async function responses_stream(url, key) {
  const stream = connect(url, key).responses.stream({ model: SCRIPTED, input: TEXT });
  const pieces = [];
  stream.on('response.output_text.delta', (event) => pieces.push(event.delta));
  check((await stream.finalResponse()).output_text === joined(pieces), pieces);
  return joined(pieces);
}

export const errors = (url, key) =>
  refused(() => connect(url, key).responses.create({ model: NOBODY, input: TEXT }), [OpenAI.NotFoundError]);

export async function embeddings(url, key) {
  return (await connect(url, key).embeddings.create({ model: EMBEDDER, input: TEXT })).data[0].embedding.length;
}

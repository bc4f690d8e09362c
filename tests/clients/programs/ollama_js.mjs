// Ollama's JavaScript client: chats, streams, tools, formats, errors.
import { Ollama } from 'ollama';
import { z } from 'zod';
import { EMBEDDER, MESSAGES, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, collected, refused } from './shared.mjs';

const connect = (host, key) => new Ollama({ host, headers: { Authorization: `Bearer ${key}` } });
const Trip = z.object({ city: z.literal('Paris'), days: z.literal(2) });

export const chat = async (url, key) =>
  (await connect(url, key).chat({ model: SCRIPTED, messages: MESSAGES })).message.content;

export async function stream(url, key) {
  const stream = await connect(url, key).chat({ model: SCRIPTED, messages: MESSAGES, stream: true });
  return collected(stream, (part) => part.message.content);
}

export async function tools(url, key) {
  const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather', parameters } }];
  const { message } = await connect(url, key).chat({ model: SCRIPTED, messages: MESSAGES, tools });
  check(message.tool_calls[0].function.arguments.city === 'Paris', message);
  const messages = [...MESSAGES, message, { role: 'tool', tool_name: 'get_weather', content: WEATHER }];
  return (await connect(url, key).chat({ model: SCRIPTED, messages, tools })).message.content;
}

export async function structured(url, key) {
  const asked = { model: REAL, messages: MESSAGES, format: z.toJSONSchema(Trip) };
  return Trip.parse(JSON.parse((await connect(url, key).chat(asked)).message.content));
}

export const errors = (url, key) =>
  refused(() => connect(url, key).chat({ model: NOBODY, messages: MESSAGES }), [Error]);

export async function embeddings(url, key) {
  return (await connect(url, key).embed({ model: EMBEDDER, input: TEXT })).embeddings[0].length;
}

// The Vercel AI SDK with @ai-sdk/openai, whose default is the Responses API.
import { createOpenAI } from '@ai-sdk/openai';
import { abilities } from './vercel.mjs';

const found = abilities((url, apiKey) => createOpenAI({ baseURL: `${url}/v1`, apiKey }));
export const responses = found.say;
export const responses_stream = found.stream;
export const { tools, structured, errors, embeddings } = found;

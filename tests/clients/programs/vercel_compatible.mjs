// The Vercel AI SDK with @ai-sdk/openai-compatible.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { abilities } from './vercel.mjs';

const found = abilities((url, apiKey) =>
  createOpenAICompatible({ name: 'jan', baseURL: `${url}/v1`, apiKey, supportsStructuredOutputs: true }),
);
export const chat = found.say;
export const { stream, tools, structured, errors, embeddings } = found;

// The Vercel AI SDK with @ai-sdk/anthropic.
import { createAnthropic } from '@ai-sdk/anthropic';
import { abilities } from './vercel.mjs';

const found = abilities((url, apiKey) => createAnthropic({ baseURL: `${url}/api/v1`, apiKey }));
export const messages = found.say;
export const messages_stream = found.stream;
export const { tools, structured, errors } = found;

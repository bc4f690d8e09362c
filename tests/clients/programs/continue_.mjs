// Continue's own adapters of APIs, with which its editor and its command speak to models: chat, completions, calls,
// embeddings, reranking, errors.
import { constructLlmApi } from '@continuedev/openai-adapters';
import { EMBEDDER, MESSAGES, NOBODY, SCRIPTED, TEXT, WEATHER, check, collected, refused } from './shared.mjs';

const connect = (url, apiKey, provider = 'openai') => constructLlmApi({ provider, apiBase: `${url}/v1/`, apiKey });
const never = new AbortController().signal;

// What its autocompletion sends are completions.
export async function chat(url, key) {
  const client = connect(url, key);
  const stream = client.completionStream({ model: SCRIPTED, prompt: TEXT, stream: true }, never);
  check((await collected(stream, (chunk) => chunk.choices[0]?.text)) === TEXT, 'the completion');
  const answer = await client.chatCompletionNonStream({ model: SCRIPTED, messages: MESSAGES }, never);
  return answer.choices[0].message.content;
}

export async function stream(url, key) {
  const asked = { model: SCRIPTED, messages: MESSAGES, stream: true };
  const chunks = connect(url, key).chatCompletionStream(asked, never);
  return collected(chunks, (chunk) => chunk.choices[0]?.delta.content);
}

export async function tools(url, key) {
  const client = connect(url, key);
  const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const tool = { type: 'function', function: { name: 'get_weather', parameters } };
  const asked = { model: SCRIPTED, messages: MESSAGES, tools: [tool] };
  const { message } = (await client.chatCompletionNonStream(asked, never)).choices[0];
  const [call] = message.tool_calls;
  check(JSON.parse(call.function.arguments).city === 'Paris', call);
  const messages = [...MESSAGES, message, { role: 'tool', tool_call_id: call.id, content: WEATHER }];
  return (await client.chatCompletionNonStream({ ...asked, messages }, never)).choices[0].message.content;
}

export async function embeddings(url, key) {
  const documents = ['Rain falls.', 'A cat sits here.'];
  const ranked = await connect(url, key, 'cohere').rerank({ model: EMBEDDER, query: 'a cat', documents });
  check(ranked.data[0].index === 1, ranked);
  return (await connect(url, key).embed({ model: EMBEDDER, input: [TEXT] })).data[0].embedding.length;
}

export const errors = (url, key) =>
  refused(() => connect(url, key).chatCompletionNonStream({ model: NOBODY, messages: MESSAGES }, never), [Error]);

// What test_sdk_node.py has the `openai` npm package do. Each line that it reads is `{scenario, url, argument}`.
// A scenario prints what it saw as a line of JSON; the test judges it.
import { createInterface } from 'node:readline';
import OpenAI from 'openai';

let client, url, argument;
const model = 'jan-v1-4b';
const ask = (content, more = {}) => ({ model, messages: [{ role: 'user', content }], ...more });

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

const told = (error) => ({
  name: error.constructor.name,
  isApiError: error instanceof OpenAI.APIError,
  status: error.status ?? null,
  code: error.code ?? null,
  param: error.param ?? null,
  requestId: error.requestID ?? null,
});

async function caught(call) {
  try {
    return { returned: await call() };
  } catch (error) {
    return told(error);
  }
}

const scenarios = {
  async models() {
    const all = await collect(client.models.list());
    return { ids: all.map(({ id }) => id), one: await client.models.retrieve(model) };
  },

  async chat() {
    const completion = await client.chat.completions.create(ask(argument, { n: 2 }));
    return { ...completion, requestId: completion._request_id };
  },

  async stream() {
    const request = ask(argument, { stream: true, stream_options: { include_usage: true } });
    return collect(await client.chat.completions.create(request));
  },

  async helper() {
    const deltas = [];
    const stream = client.chat.completions.stream(ask(argument)).on('content', (delta) => deltas.push(delta));
    return { completion: await stream.finalChatCompletion(), deltas };
  },

  async completions() {
    return client.completions.create({ model, prompt: argument, max_tokens: 1 });
  },

  async leave() {
    const stream = await client.chat.completions.create({ ...ask(argument, { stream: true }), model: 'slow' });
    let content = '';
    for await (const chunk of stream) {
      content += chunk.choices[0].delta.content ?? '';
      if (content.includes('word')) break;
    }
    return { content };
  },

  async shutdown() {
    const request = { ...ask('word '.repeat(1000), { stream: true }), model: 'slow' };
    const stream = await client.chat.completions.create(request);
    let content = '';
    const error = await caught(async () => {
      for await (const chunk of stream) {
        const text = chunk.choices[0].delta.content ?? '';
        // Once only: a second signal ends the server at once.
        if (text && !content) process.kill(Number(argument), 'SIGTERM');
        content += text;
      }
    });
    return { ...error, content };
  },

  // Two retries, as the SDK makes them by default.
  async retried() {
    const patient = client.withOptions({ maxRetries: 2 });
    const { model, times } = JSON.parse(argument);
    const seen = [];
    for (let time = 0; time < times; time += 1) {
      const answer = await caught(() => patient.chat.completions.create({ ...ask('x'), model }));
      seen.push(answer.returned ? 'served' : answer);
      if (!answer.returned) break;
    }
    return seen;
  },

  async failing() {
    const patient = client.withOptions({ maxRetries: 2, baseURL: `${url}/failing` });
    const request = { ...ask('one two three four five', { stream: true }), model: 'slow' };
    let content = '';
    const error = await caught(async () => {
      for await (const chunk of await patient.chat.completions.create(request)) {
        content += chunk.choices[0].delta.content ?? '';
      }
    });
    return { ...error, content };
  },

  async errors() {
    const create = (more, options) => caught(() => client.chat.completions.create(ask('x', more), options));
    return {
      value: await create({ temperature: 3 }),
      stream: await create({ temperature: 3, stream: true }),
      model: await create({ model: 'gpt-4o' }),
      url: await caught(() => client.moderations.create({ input: 'x' })),
      size: await create({ user: 'x'.repeat(5_000_000) }),
      type: await create({}, { headers: { 'Content-Type': 'text/xml' } }),
    };
  },

  async tools() {
    const tools = [{ type: 'function', function: { name: 'clock', parameters: JSON.parse(argument) } }];
    const options = { tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 80 };
    const request = ask('What time is it?', options);
    const whole = (await client.chat.completions.create(request)).choices[0];
    const streamed = (await client.chat.completions.stream(request).finalChatCompletion()).choices[0];
    const result = { role: 'tool', tool_call_id: whole.message.tool_calls[0].id, content: 'noon' };
    const messages = [...request.messages, whole.message, result];
    const next = { ...request, messages, tool_choice: 'none', max_tokens: 4, temperature: 0 };
    return { whole, streamed, answer: (await client.chat.completions.create(next)).choices[0] };
  },

  async schema() {
    const json_schema = { name: 'trip', schema: JSON.parse(argument), strict: true };
    const response_format = { type: 'json_schema', json_schema };
    const request = ask('Plan a trip', { response_format, max_tokens: 100, temperature: 0 });
    return (await client.chat.completions.create(request)).choices[0];
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  ({ url, argument } = asked);
  client = new OpenAI({ baseURL: `${url}/api/v1`, apiKey: 'your-jwt-token', maxRetries: 0 });
  console.log(JSON.stringify(await scenarios[asked.scenario]()));
}

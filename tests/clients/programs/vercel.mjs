// What the three providers of the Vercel AI SDK share.
import { Output, embed, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, check, collected, refused } from './shared.mjs';

const Trip = z.object({ city: z.literal('Paris'), days: z.literal(2) });
const get_weather = tool({
  description: 'Return the weather of a city',
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => (check(city === 'Paris', city), WEATHER),
});

// The abilities of a provider, which `connect(url, key)` makes.
export const abilities = (connect) => ({
  // The second turn has the first one's answer as the SDK keeps it: its items by their ids, where the API has them.
  say: async (url, key) => {
    const model = connect(url, key)(SCRIPTED);
    const { response } = await generateText({ model, prompt: 'Good day!' });
    const messages = [{ role: 'user', content: 'Good day!' }, ...response.messages, { role: 'user', content: TEXT }];
    return (await generateText({ model, messages })).text;
  },
  stream: (url, key) => {
    const failed = { onError: ({ error }) => { throw error; } };
    return collected(streamText({ model: connect(url, key)(SCRIPTED), prompt: TEXT, ...failed }).textStream, (one) => one);
  },
  tools: async (url, key) => {
    const model = connect(url, key)(SCRIPTED);
    return (await generateText({ model, prompt: TEXT, tools: { get_weather }, stopWhen: stepCountIs(3) })).text;
  },
  structured: async (url, key) => {
    const output = Output.object({ schema: Trip });
    return (await generateText({ model: connect(url, key)(REAL), prompt: TEXT, output })).output;
  },
  errors: (url, key) => refused(() => generateText({ model: connect(url, key)(NOBODY), prompt: TEXT }), [Error]),
  embeddings: async (url, key) => {
    const model = connect(url, key).textEmbeddingModel(EMBEDDER);
    return (await embed({ model, value: TEXT })).embedding.length;
  },
});

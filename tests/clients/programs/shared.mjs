// What every program sends and asks for.
export const TEXT = 'Hello, dear server!';
export const SCRIPTED = 'scripted';
export const REAL = 'jan-v1-4b';
export const EMBEDDER = 'embedder';
export const NOBODY = 'nobody';
export const WEATHER = 'Sunny in Paris.';
export const MESSAGES = [{ role: 'user', content: TEXT }];

export function check(truth, what) {
  if (!truth) throw new Error(`not so: ${JSON.stringify(what)}`);
}

// The text of a stream, which must come in pieces.
export function joined(pieces) {
  const found = pieces.filter((piece) => piece);
  check(found.length > 1, found);
  return found.join('');
}

export async function collected(stream, piece) {
  const pieces = [];
  for await (const one of stream) pieces.push(piece(one));
  return joined(pieces);
}

// What a call must fail with.
export async function refused(call, classes) {
  try {
    await call();
  } catch (error) {
    if (!classes.some((one) => error instanceof one)) throw error;
    return error.message;
  }
  throw new Error('it was not refused');
}

// The answers that this page follows, whichever conversation is shown.

/** The answers that are being made, and those that ended while nobody looked. @type {Map<string, Answer>} */
const running = new Map();

/** Remember an answer as long as it runs, under its id. */
export function watch(answer) {
  const noted = () => answer.id && running.set(answer.id, answer);
  noted();
  answer.addEventListener("placed", noted);
  answer.addEventListener("end", () => setTimeout(() => running.delete(answer.id), 1000));
  return answer;
}

/** Return the running answer that is stored as this message. */
export function runningAs(id) {
  return running.get(id) ?? null;
}

// The request for an answer, in the form of the Responses API.

const SAME = ["truncation", "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed"];

/**
 * Return the body of a request.
 * @param {{model: string, conversation: string, options: Record<string, any>, parentId?: string | null}} how
 *   `parentId` undefined: below the last message
 * @param {{id: string, content: any, system: string} | null} question null: the one at `parentId` once more
 */
export function requestOf({ model, conversation, options, parentId }, question) {
  const body = { model, conversation, input: [] };
  for (const name of SAME) if (options[name] !== undefined) body[name] = options[name];
  if (options.max_tokens !== undefined) body.max_output_tokens = options.max_tokens;
  if (options.reasoning_effort) body.reasoning = { effort: options.reasoning_effort };
  if (parentId !== undefined) body.parent_message_id = parentId;
  if (!question) return body;
  body.message_id = question.id;
  if (question.system) body.input.push({ role: "system", content: question.system });
  body.input.push({ role: "user", content: partsOf(question.content) });
  return body;
}

/** Return the body of a request of which nothing is stored: `path` are all messages before the answer. */
export function temporaryRequestOf({ model, options }, path) {
  const { conversation: _, ...body } = requestOf({ model, conversation: "", options }, null);
  return { ...body, store: false, input: path.map(({ role, content }) => ({ role, content: partsOf(content) })) };
}

function partsOf(content) {
  return typeof content === "string" ? content : content.map(({ text }) => ({ type: "input_text", text }));
}

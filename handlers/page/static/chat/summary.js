// Going on with a conversation that is too long: its model sums it up, and a new conversation begins with that.

import { ApiError, newId, post, remove } from "../api/client.js";
import { tell } from "../lib/bus.js";
import { button } from "../lib/dom.js";
import "../lib/more.js";
import { go } from "../lib/router.js";
import { t } from "../lib/words.js";
import { requestOf } from "./asking.js";
import { notice, noticeOf } from "./notices.js";
import { settingsOf } from "./settings.js";
import { summaryMetadata } from "./summary-note.js";
import { textOf } from "./tree.js";

const LETTERS_OF_A_TOKEN = 3.6;
/** The part of a model's context that is read; the rest is for the summary. */
const READ = 0.7;

/**
 * Sum up what is read, and ask the question after the summary. The old conversation stays as it is.
 * @param {import("./composer.js").Composer} composer @param {import("./conversation.js").Conversation} conversation
 */
export async function goOnWithSummary(composer, conversation) {
  const off = new AbortController();
  const { model } = composer;
  const text = composer.field.value;
  const content = composer.content();
  const again = () => goOnWithSummary(composer, conversation);
  try {
    composer.block(true);
    await conversation.loadAll();
    const path = conversation.tree.path().filter((message) => ["user", "assistant"].includes(message.role) && textOf(message));
    const stop = button(t("cancel"), () => off.abort(), { kind: "b.tiny" });
    composer.notice(notice("clock", "", t("summary.writing", { n: path.length }), t("summary.text", { model: model.id }), [stop]));
    const { summary, left } = await summaryOf(path, model, off.signal);
    const made = await begin({ conversation, model, content, summary, count: path.length, left });
    composer.sent(text);
    tell("asked", made);
    go({ c: made.id });
  } catch (error) {
    composer.block(false);
    composer.notice(off.signal.aborted ? null : noticeOf(error, { retry: again, otherModel: () => composer.pick() }));
  }
}

/** Return the item that stands for a path, and how many of its oldest messages did not fit into it. */
async function summaryOf(path, model, signal) {
  let left = leftOut(path, model.context);
  for (;;) {
    const input = path.slice(left).map((message) => ({ role: message.role, content: textOf(message) }));
    try {
      const { output } = await post("responses/compact", { model: model.id, input }, { signal });
      return { summary: output.at(-1), left };
    } catch (error) {
      if (error.code !== "context_length_exceeded" || input.length < 2) throw error;
      left += Math.ceil(input.length / 4);
    }
  }
}

function leftOut(path, context) {
  if (!context) return 0;
  let room = context * READ * LETTERS_OF_A_TOKEN;
  const at = path.findLastIndex((message) => (room -= textOf(message).length) < 0);
  return Math.min(at + 1, path.length - 1);
}

async function begin({ conversation, model, content, summary, count, left }) {
  const { options, system } = settingsOf(conversation);
  const title = t("summary.title", { title: conversation.title || t("list.untitled") }).slice(0, 200);
  const metadata = { ...conversation.metadata, ...summaryMetadata(conversation.id, count, left) };
  const made = await post("conversations", { model: model.id, title, metadata }, { headers: { "Idempotency-Key": newId("key") } });
  const body = requestOf({ model: model.id, conversation: made.id, options }, { id: newId("msg"), content, system });
  body.input.splice(-1, 0, summary);
  try {
    await post("responses", { ...body, background: true });
  } catch (error) {
    if (error instanceof ApiError) await remove(`conversations/${made.id}`).catch(() => {});
    throw error;
  }
  return made;
}

// How to use a key from elsewhere.

/** Return programs and settings by name. */
export function snippets({ key, model, api, server }) {
  const ask = `{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}]}`;
  return {
    curl: `curl ${api}/chat/completions \\\n  -H "Authorization: Bearer ${key}" \\\n  -H "Content-Type: application/json" \\\n  -d '${ask}'\n`,
    Python: `import openai\n\nclient = openai.OpenAI(base_url="${api}", api_key="${key}")\nanswer = client.chat.completions.create(\n    model="${model}",\n    messages=[{"role": "user", "content": "Hello!"}],\n)\nprint(answer.choices[0].message.content)\n`,
    JavaScript: `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${api}", apiKey: "${key}" });\nconst answer = await client.chat.completions.create({\n  model: "${model}",\n  messages: [{ role: "user", content: "Hello!" }],\n});\nconsole.log(answer.choices[0].message.content);\n`,
    Codex: `# ~/.codex/config.toml, with JAN_API_KEY=${key} in the environment\nmodel = "${model}"\nmodel_provider = "jan"\n\n[model_providers.jan]\nname = "Jan"\nbase_url = "${api}"\nwire_api = "responses"\nenv_key = "JAN_API_KEY"\n`,
    "Claude Code": `export ANTHROPIC_BASE_URL=${server}\nexport ANTHROPIC_AUTH_TOKEN=${key}\nclaude --model ${model}\n`,
  };
}

// Runs a program of a client, as play.py does:  node play.mjs PROGRAM URL KEY
// The program's folder must be beside the node_modules of its client.
const [path, url, key] = process.argv.slice(2);
const program = await import(path);
for (const [ability, run] of Object.entries(program)) {
  const line = { ability };
  try {
    line.found = await run(url, key);
  } catch (error) {
    line.problem = String(error?.stack ?? error).slice(0, 3000);
  }
  console.log('\n' + JSON.stringify(line));
}
process.exit(0);

// A real OpenID Connect provider with development log-in pages.
// node oidc_provider.mjs FOLDER-WITH-NODE_MODULES PORT CLIENT_SECRET REDIRECT_URI...
// Whoever logs in as NAME is NAME@example.com; names that begin with "unverified" are not verified.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, port, client_secret, ...redirect_uris] = process.argv.slice(2);
const resolve = createRequire(pathToFileURL(join(folder, 'package.json'))).resolve;
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: 'jan', client_secret, redirect_uris }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.com`,
      email_verified: !id.startsWith('unverified'),
      name: `${id[0].toUpperCase()}${id.slice(1)} Example`,
    }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));

// A browser that is signed in on the web page sends its cookie by itself, and needs no key here.
let signedIn = false;

// Locks that say the truth: closed once a request would carry credentials, and not because it may go without.
const locks = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        isAuthorized: (original) => (_state, needs) => {
          const asked = needs?.filter((need) => need.size > 0);
          return (signedIn && asked?.size > 0) || original(asked);
        },
        // Nothing can be typed that becomes a cookie.
        definitionsToAuthorize: (original) => () =>
          original().filter((definitions) => !definitions.has("cookie")),
      },
    },
  },
});

async function lookWhoIsHere() {
  const paths = window.ui.specSelectors.specJson().get("paths");
  const path = paths.keySeq().find((found) => found.endsWith("/auth/session"));
  if (path === undefined) return;
  const answer = await fetch(`../..${path}`);
  signedIn = answer.ok && (await answer.json()).session !== null;
  // Any action makes the locks look again.
  window.ui.authActions.showDefinitions(false);
}

window.ui = SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // Code samples of a request in several shells.
  requestSnippetsEnabled: true,
  displayRequestDuration: true,
  // The list of all schemas is long; it opens with a click.
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [locks],
  onComplete: lookWhoIsHere,
});

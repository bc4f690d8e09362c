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
});

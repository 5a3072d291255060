// Starts Swagger UI on this server's own description. A file of its own, so that the page needs no inline script.
const place = document.getElementById("api");
SwaggerUIBundle({ url: place.dataset.description, domNode: place, deepLinking: true, validatorUrl: null });

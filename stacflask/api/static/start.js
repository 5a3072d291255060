// Starts Swagger UI on this server's own description. A file of its own, so that the page needs no inline script.
const place = document.getElementById("api");
SwaggerUIBundle({ url: place.dataset.description, domNode: place, deepLinking: true, validatorUrl: null });

const who = document.getElementById("who");
if (who) {
  fetch(who.dataset.who)
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((told) => (told && !told.anonymous ? showSomebody(told) : showWaysIn(told ? told.login : [])));
}

function showSomebody(told) {
  const groups = told.groups.length ? ` (${told.groups.join(", ")})` : "";
  who.append(element("span", { textContent: `You are ${told.id}${groups} `, id: "who-name" }));
  if (told.scheme === "session") {
    // A form, because the provider's own way out is another site's, where no script may go.
    const form = element("form", { method: "post", action: who.dataset.logout, style: "display: inline" });
    form.append(element("button", { className: "btn", textContent: "Log out", id: "log-out" }));
    who.append(form);
  }
}

function showWaysIn(ways) {
  const here = encodeURIComponent("/api.html" + location.hash);
  for (const way of ways) {
    const link = { className: "btn authorize", textContent: `Log in: ${way.title}`, href: `${way.href}&next=${here}` };
    who.append(element("a", link));
  }
  if (!ways.length) {
    who.append(element("a", { className: "btn authorize", textContent: "Log in", href: `login?next=${here}` }));
  }
}

function element(name, members) {
  return Object.assign(document.createElement(name), members);
}

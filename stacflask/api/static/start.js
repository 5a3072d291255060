// Starts Swagger UI with the OpenAPI document of this server. A separate file, so that the page needs no inline script.
const place = document.getElementById("api");
SwaggerUIBundle({ url: place.dataset.description, domNode: place, deepLinking: true, validatorUrl: null });

const who = document.getElementById("who");
if (who) {
  fetch(who.dataset.who)
    .then((response) => (response.ok ? response.json() : null))
    .then((user) => (user && !user.anonymous ? showUser(user) : showLogins(user ? user.login : [])));
}

function showUser(user) {
  const groups = user.groups.length ? ` (${user.groups.join(", ")})` : "";
  who.append(element("span", { textContent: `You are ${user.id}${groups} `, id: "who-name" }));
  if (user.scheme === "session") {
    // A form, because logging out can redirect to the provider's site, which a script must not fetch.
    const form = element("form", { method: "post", action: who.dataset.logout, style: "display: inline" });
    form.append(element("button", { className: "btn", textContent: "Log out", id: "log-out" }));
    who.append(form);
  }
}

function showLogins(logins) {
  const here = encodeURIComponent("/api.html" + location.hash);
  for (const login of logins) {
    const link = { className: "btn authorize", textContent: `Log in: ${login.title}`, href: `${login.href}&next=${here}` };
    who.append(element("a", link));
  }
  if (!logins.length) {
    who.append(element("a", { className: "btn authorize", textContent: "Log in", href: `login?next=${here}` }));
  }
}

function element(name, members) {
  return Object.assign(document.createElement(name), members);
}

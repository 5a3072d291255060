// An OpenID provider with invented users and clients for tests. It accepts any password.
// Usage: node server.js SETTINGS, a JSON object with port, keys (private JWKs), redirect (the login's callback), home.
import { Provider } from "oidc-provider";

const { port, keys, redirect, home } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const groups = { jane: ["members"], olga: ["members", "operators"], robot: ["ingest"] };

const client = (client_id, more) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  redirect_uris: [],
  response_types: [],
  grant_types: [],
  ...more,
});

const provider = new Provider(issuer, {
  jwks: { keys },
  cookies: { keys: ["only-for-tests"] },
  clients: [
    client("portal", {
      redirect_uris: [redirect],
      post_logout_redirect_uris: [home],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    }),
    client("robot", { grant_types: ["client_credentials"] }),
    client("stacflask"),
  ],
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: groups[id] ?? [], email: `${id}@example.org` }),
  }),
  claims: { openid: ["sub", "groups"], email: ["email"] },
  conformIdTokenClaims: false,
  extraTokenClaims: (_, token) => ({ groups: groups[token.accountId ?? token.clientId] ?? [] }),
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // The name of a resource selects the form of its tokens: urn:eo:RS256, urn:eo:ES256, or urn:eo:opaque.
      getResourceServerInfo: (_, resource) => {
        const alg = resource.split(":").at(-1);
        const form = alg === "opaque" ? {} : { accessTokenFormat: "jwt", jwt: { sign: { alg } } };
        return { scope: "read download write", audience: "stacflask", accessTokenTTL: 600, ...form };
      },
    },
  },
});

provider.listen(port, "127.0.0.1", () => console.log("ready"));

// An OpenID provider with its own login and consent pages.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "xunjian", client_secret: "peer-client-secret-0123456789",
      redirect_uris: [`${issuer}/cb`], response_types: ["code"],
      grant_types: ["authorization_code", "client_credentials"],
    }],
    cookies: { keys: ["test"] },
    features: { clientCredentials: { enabled: true } },
    pkce: { required: () => true },
  });
  server.on("request", provider.callback());
  console.log(JSON.stringify({ issuer }));
});
process.stdin.on("end", () => process.exit(0)).resume();

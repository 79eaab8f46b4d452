// A real OpenID provider for the tests: node-oidc-provider, tokens kept in memory.
//
//   node oidc_server.mjs --modules DIRECTORY [--port N] [--access-lifetime SECONDS]
//                        [--code-lifetime SECONDS] [--no-rotate] [--redirect-uri URI]…
//
// Protocol and pages are the package's own (its devInteractions: any name and password log in,
// and the name is the `sub`). It prints one JSON line when it listens and ends when standard
// input closes:
//
//   {"issuer", "metadata_url", "authorize_url", "token_url", "device_url", "userinfo_url",
//    "resource_url", "revoke_url", "web_client_id", "web_client_secret", "native_client_id",
//    "password", "seeds": []}
//
// The web client (HTTP Basic) and the native one (public) get codes and device codes. PKCE is
// required; the callback is / or /callback on the loopback, at any port, or a --redirect-uri.
// A refresh token takes the scope `offline_access` and `prompt=consent`, as OpenID has it; it
// rotates, and one that comes back revokes everything. Redirects name the issuer (RFC 9207).
// Only 127.0.0.1 is listened on.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';

const { values: options } = parseArgs({
  options: {
    modules: { type: 'string' },
    port: { type: 'string', default: '0' },
    'access-lifetime': { type: 'string', default: '3600' },
    'code-lifetime': { type: 'string', default: '60' },
    'no-rotate': { type: 'boolean', default: false },
    'redirect-uri': { type: 'string', multiple: true, default: [] },
  },
});

console.info = console.error; // standard output is for the ready line
const found = createRequire(`${options.modules}/`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(found));

const secret = () => randomBytes(24).toString('base64url');
const server = createServer();
await new Promise((listens) => server.listen(Number(options.port), '127.0.0.1', listens));
const issuer = `http://127.0.0.1:${server.address().port}`;

const common = {
  application_type: 'native', // loopback callbacks at any port
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: [
    ...['127.0.0.1', '[::1]'].flatMap((host) => [`http://${host}/`, `http://${host}/callback`]),
    ...options['redirect-uri'],
  ],
};
const web = {
  client_id: 'refreshd-web',
  client_secret: secret(),
  token_endpoint_auth_method: 'client_secret_basic',
  ...common,
};
const native = { client_id: 'refreshd-native', token_endpoint_auth_method: 'none', ...common };

const day = 24 * 60 * 60;
const provider = new Provider(issuer, {
  clients: [web, native],
  cookies: { keys: [secret()] },
  scopes: ['openid', 'offline_access', 'read', 'write'],
  claims: { openid: ['sub'] },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  pkce: { required: () => true },
  rotateRefreshToken: !options['no-rotate'],
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
  },
  ttl: {
    AccessToken: Number(options['access-lifetime']),
    AuthorizationCode: Number(options['code-lifetime']),
    DeviceCode: 600,
    Grant: 14 * day,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: 14 * day,
    Session: day,
  },
});
server.on('request', provider.callback());

console.log(JSON.stringify({
  issuer,
  metadata_url: `${issuer}/.well-known/openid-configuration`,
  authorize_url: `${issuer}/auth`,
  token_url: `${issuer}/token`,
  device_url: `${issuer}/device/auth`,
  userinfo_url: `${issuer}/me`,
  resource_url: `${issuer}/me`,
  revoke_url: `${issuer}/token/revocation`,
  web_client_id: web.client_id,
  web_client_secret: web.client_secret,
  native_client_id: native.client_id,
  password: 'any',
  seeds: [],
}));
process.stdin.resume().on('end', () => process.exit(0));

// An OpenID provider for tests: people sign in with the name of an account, and /test/tokens signs ID tokens of CI jobs.
// Its argument is the state: {"accounts": {name: claims}, "clients": [metadata], "claims_in_id_token": bool}.

import { createServer } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';

const state = { accounts: {}, clients: [], claims_in_id_token: true, keys: [], ...JSON.parse(process.argv[2] ?? '{}') };
let respond;

async function addKey(kept) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid: crypto.randomUUID() };
  state.keys = [jwk, ...kept];
}

async function loadExistingGrant({ oidc }) {
  const { client, params, provider, session } = oidc;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
}

function findAccount(_, name) {
  const claims = state.accounts[name];
  return claims && { accountId: name, claims: () => ({ sub: name, ...claims }) };
}

function createProvider() {
  const provider = new Provider(issuer, {
    claims: {
      email: ['email', 'email_verified'], groups: ['groups'], openid: ['sub'], profile: ['name'],
    },
    clients: state.clients,
    conformIdTokenClaims: !state.claims_in_id_token,
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false } },
    findAccount,
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys: state.keys },
    loadExistingGrant,
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  provider.on('server_error', (_, error) => console.error(error));
  const handle = provider.callback();
  respond = async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return handle(request, response);
    return interact(provider, request, response);
  };
}

async function interact(provider, request, response) {
  if (request.method === 'GET') return send(response, 200, loginPage(''), 'text/html; charset=utf-8');
  const form = new URLSearchParams(await read(request));
  const name = form.get('account');
  if (form.has('cancel')) return provider.interactionFinished(request, response, { error: 'access_denied' });
  if (!Object.hasOwn(state.accounts, name)) {
    return send(response, 400, loginPage('The account is unknown.'), 'text/html; charset=utf-8');
  }
  return provider.interactionFinished(request, response, { login: { accountId: name } });
}

function loginPage(message) {
  return `<!doctype html><html lang="en"><title>Provider</title><h1>Provider</h1><p>${message}</p>
<form method="post"><label>Account <input name="account" autofocus></label>
<button>Continue</button><button name="cancel" value="yes">Cancel</button></form></html>`;
}

const controls = {
  '/test/state': async (changes) => {
    Object.assign(state, changes);
    createProvider();
    return {};
  },
  '/test/rotate': async ({ keep }) => {
    await addKey(keep ? state.keys : []);
    createProvider();
    return { kid: state.keys[0].kid };
  },
  '/test/tokens': async ({ claims, header }) => {
    const now = Math.floor(Date.now() / 1000);
    const [key] = state.keys;
    const all = { iss: issuer, iat: now, nbf: now, exp: now + 300, jti: crypto.randomUUID(), ...claims };
    const signed = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
    const protectedHeader = { alg: 'RS256', kid: key.kid, typ: 'JWT', ...header };
    return { token: await new SignJWT(signed).setProtectedHeader(protectedHeader).sign(key) };
  },
};

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function send(response, status, body, type) {
  response.writeHead(status, { 'Content-Type': type });
  response.end(body);
}

async function handleRequest(request, response) {
  const control = request.method === 'POST' && controls[request.url];
  if (!control) return respond(request, response);
  const answer = await control(JSON.parse((await read(request)) || '{}'));
  return send(response, 200, JSON.stringify(answer), 'application/json');
}

const server = createServer((request, response) => {
  handleRequest(request, response).catch((error) => {
    console.error(error);
    send(response, 500, String(error), 'text/plain');
  });
});
await addKey([]);
await new Promise((resolve) => server.listen(Number(state.port ?? 0), '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
createProvider();
console.log(JSON.stringify({ issuer }));
process.stdin.on('end', () => process.exit()).resume(); // the test has ended

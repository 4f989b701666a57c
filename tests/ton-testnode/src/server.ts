// HTTP on 127.0.0.1: JSON-RPC and REST forms of the toncenter methods, and the /testnode/ controls.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Chain, Refused } from './chain.ts';
import { NETWORK_ID } from './chain-config.ts';
import { address, METHODS, type Parameters } from './toncenter.ts';

const MOST_BODY_BYTES = 1024 * 1024;

export function serve(chain: Chain): Server {
    return createServer((request, response) => {
        answer(chain, request).then(
            (result) => reply(response, 200, { ok: true, result, ...jsonRpcMembers(request) }),
            (error: unknown) => {
                const code = error instanceof Refused ? error.code : 500;
                const text = error instanceof Error ? error.message : 'unknown error';
                reply(response, code, { ok: false, error: text, code });
            },
        );
    });
}

async function answer(chain: Chain, request: IncomingMessage): Promise<unknown> {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    const parameters = await readParameters(request, url);
    const path = url.pathname.replace(/\/+$/, '');
    if (path === '/api/v2/jsonRPC') {
        const nested = parameters['params'] ?? {};
        if (typeof nested !== 'object' || nested === null)
            throw new Refused('params is not an object', 422);
        return call(chain, String(parameters['method']), nested as Parameters);
    }
    const rest = /^\/api\/v2\/([A-Za-z]+)$/.exec(path);
    if (rest) return call(chain, rest[1] ?? '', parameters);
    switch (path) {
        case '/testnode/status':
            return status(chain);
        case '/testnode/faucet':
            await chain.fund(address(parameters['address']), amount(parameters['amount']));
            return status(chain);
        case '/testnode/advance':
            await chain.advance(Number(amount(parameters['seconds'])));
            return status(chain);
        default:
            throw new Refused('no such path', 404);
    }
}

function call(chain: Chain, name: string, parameters: Parameters): Promise<unknown> | unknown {
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
    if (!method) throw new Refused('no such method', 404);
    return method(chain, parameters);
}

function status(chain: Chain): object {
    return {
        emulated: true,
        network: NETWORK_ID,
        now: chain.now,
        seqno: chain.seqno,
        accounts: chain.accounts,
    };
}

function amount(value: unknown): bigint {
    if (!/^[0-9]{1,30}$/.test(String(value))) throw new Refused('not an amount', 422);
    return BigInt(String(value));
}

async function readParameters(request: IncomingMessage, url: URL): Promise<Parameters> {
    const parameters: Parameters = Object.fromEntries(url.searchParams);
    if (request.method !== 'POST') return parameters;
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of request) {
        length += (chunk as Buffer).length;
        if (length > MOST_BODY_BYTES) throw new Refused('body too long', 413);
        chunks.push(chunk as Buffer);
    }
    if (length === 0) return parameters;
    try {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
        if (typeof body === 'object' && body !== null) return { ...parameters, ...body };
    } catch {
        // refused below
    }
    throw new Refused('body is not a JSON object', 422);
}

function jsonRpcMembers(request: IncomingMessage): object {
    return request.url?.startsWith('/api/v2/jsonRPC') ? { jsonrpc: '2.0', id: '1' } : {};
}

function reply(response: ServerResponse, code: number, body: object): void {
    const text = JSON.stringify(body);
    response.writeHead(code, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
    });
    response.end(text);
}

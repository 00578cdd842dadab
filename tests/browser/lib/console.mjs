// The console from a folder instead of from the cloud's binary, for working on it: files from `dist`, calls passed on.
import { createServer, request } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".svg": "image/svg+xml" };
const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

export async function serveConsole(dist, cloud) {
  const server = createServer(async (incoming, outgoing) => {
    const path = new URL(incoming.url, "http://console").pathname;
    if (path.startsWith("/opslink.v1.")) {
      const target = new URL(incoming.url, cloud());
      const headers = { ...incoming.headers, host: target.host };
      if (headers.origin) headers.origin = target.origin;
      const call = request(target, { method: incoming.method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
      });
      call.on("error", () => outgoing.destroy());
      outgoing.on("close", () => call.destroy());
      incoming.pipe(call);
      return;
    }
    const name = extname(path) && (path.startsWith("/assets/") || path === "/favicon.svg") ? path : "/index.html";
    try {
      const body = await readFile(join(dist, name));
      outgoing.writeHead(200, { "content-type": TYPES[extname(name)], "content-security-policy": POLICY });
      outgoing.end(body);
    } catch {
      outgoing.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((closed) => (server.closeAllConnections(), server.close(closed))),
  };
}

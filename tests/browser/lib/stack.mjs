// A real cloud and real agents on free ports, with everything in one temporary folder. Nothing outlives `stop`.
import { spawn, execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtemp, rm, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { serveConsole } from "./console.mjs";

export const PASSWORD = "a sentence for the tests";
export const BIN = process.env.OPSLINK_BIN_DIR ?? join(process.env.CARGO_TARGET_DIR ?? "../../target", "debug");

const run = promisify(execFile);

/** Waits until `condition` gives something, and says what it waited for when it does not. */
export async function until(what, condition, limit = 15_000) {
  const end = Date.now() + limit;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${limit} ms for ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/** Starts a program whose first line of output says that it is ready. */
async function start(program, args, options = {}) {
  const child = spawn(join(BIN, program), args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const said = [];
  const keep = (line) => said.push(line) > 400 && said.shift();
  createInterface({ input: child.stderr }).on("line", keep);
  const ready = await new Promise((resolve, reject) => {
    const failed = (why) => reject(new Error(`${program}: ${why}\n${said.join("\n")}`));
    child.once("error", (error) => failed(error.message));
    child.once("exit", (code) => failed(`ended with ${code} before it was ready`));
    createInterface({ input: child.stdout }).on("line", (line) => {
      keep(line);
      try {
        resolve(JSON.parse(line));
      } catch {
        // Talk before the ready line.
      }
    });
  });
  return { child, ready, said };
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(timer);
}

/** A cloud with agents `prod` (env=prod,dc=bj), `shanghai` (env=prod,dc=sh) and `staging` (env=staging). */
export class Stack {
  static async start({ agents = true, password = PASSWORD } = {}) {
    const stack = new Stack();
    stack.password = password;
    stack.folder = await mkdtemp(join(tmpdir(), "opslink-browser-"));
    stack.agents = new Map();
    await stack.startCloud("127.0.0.1:0", "127.0.0.1:0");
    if (agents) {
      await Promise.all([
        stack.addAgent("prod", { env: "prod", dc: "bj" }),
        stack.addAgent("shanghai", { env: "prod", dc: "sh" }),
        stack.addAgent("staging", { env: "staging" }),
      ]);
    }
    return stack;
  }

  async startCloud(listen, plain) {
    const args = ["serve", "--data", join(this.folder, "cloud"), "--listen", listen, "--plain-listen", plain];
    // Without one, the cloud makes a password that must be changed at the first login.
    const password = this.password ? ["--dev-admin-password", this.password] : [];
    this.cloud = await start("opslink-cloud", [...args, ...password, "--ready-json"]);
    this.info = this.cloud.ready;
    this.url = this.info.plain_url;
    if (process.env.OPSLINK_CONSOLE_DIST) {
      this.console ??= await serveConsole(process.env.OPSLINK_CONSOLE_DIST, () => this.info.plain_url);
      this.url = this.console.url;
    }
  }

  /** Stops the cloud and starts it again on the same ports and data. */
  async restartCloud() {
    const address = (url) => new URL(url).host;
    await end(this.cloud.child);
    await this.startCloud(address(this.info.url), address(this.info.plain_url));
  }

  /** Runs cloudctl, logged in as admin. */
  async cloudctl(...args) {
    await this.login();
    return run(join(BIN, "cloudctl"), args, { env: this.cliEnv(), timeout: 30_000 });
  }

  cliEnv() {
    return { ...process.env, CLOUDCTL_CONFIG: join(this.folder, "cli"), PATH: `${BIN}:${process.env.PATH}` };
  }

  /** Logs cloudctl in, once. */
  async login() {
    this.loggedIn ??= (async () => {
      const token = await this.token();
      const env = { ...this.cliEnv() };
      await new Promise((resolve, reject) => {
        const args = ["login", this.info.url, "--with-token", "--ca-sha256", this.info.ca_sha256];
        const child = execFile(join(BIN, "cloudctl"), args, { env, timeout: 20_000 }, (error, _out, talk) =>
          error ? reject(new Error(`cloudctl login: ${error.message}\n${talk}`)) : resolve(),
        );
        child.stdin.end(`${token}\n`);
      });
    })();
    await this.loggedIn;
  }

  /** An API token, made through gRPC-web as the console does it. */
  async token() {
    const { session } = await this.session();
    const answer = await this.call("opslink.v1.TokenService/CreateToken", [[1, "tests"], [2, 3]], session);
    return /olp_[\w.-]+/.exec(answer.toString("latin1"))[0];
  }

  async session() {
    const answer = await this.call("opslink.v1.AuthService/Login", [[1, "admin"], [2, PASSWORD]]);
    return { session: /ols_[\w.-]+/.exec(answer.toString("latin1"))[0] };
  }

  /** One unary gRPC-web call with a flat message of strings and small numbers. */
  async call(method, fields, bearer) {
    const parts = fields.map(([number, value]) => {
      if (typeof value === "number") return Buffer.from([(number << 3) | 0, value]);
      const text = Buffer.from(value);
      return Buffer.concat([Buffer.from([(number << 3) | 2, text.length]), text]);
    });
    const message = Buffer.concat(parts);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    const response = await fetch(`${this.info.plain_url}/${method}`, {
      method: "POST",
      headers: {
        "content-type": "application/grpc-web+proto",
        "x-grpc-web": "1",
        ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
      },
      body: Buffer.concat([head, message]),
    });
    const body = Buffer.from(await response.arrayBuffer());
    const status = response.headers.get("grpc-status") ?? /grpc-status: ?(\d+)/.exec(body.toString("latin1"))?.[1];
    if (status !== "0") throw new Error(`${method}: status ${status} ${body.toString("latin1").slice(0, 400)}`);
    return body;
  }

  /** Joins an agent with a token made here, and starts it. It has a SQLite database as its connection `main`. */
  async addAgent(name, labels) {
    const { stdout } = await this.cloudctl(
      ...["agent", "join-token", "create", "--name", name, "-o", "json"],
      ...Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`]),
    );
    const token = /olj1\.[\w.-]+/.exec(stdout)[0];
    await this.startAgent(name, ["join", this.info.url, "--token", token, "--name", name]);
  }

  /** The folder of an agent, with its connections file. */
  async agentFolder(name) {
    const state = join(this.folder, `agent-${name}`);
    await mkdir(state, { recursive: true, mode: 0o700 });
    const database = join(this.folder, `${name}.db`);
    const connections = `[[connection]]\nname = "main"\nurl = "sqlite://${database}?mode=rwc"\ndefault = true\n`;
    await writeFile(join(state, "connections.toml"), connections, { mode: 0o600 });
    return state;
  }

  /** Joins a machine, which does not run then. */
  async joinAgent(name, words) {
    const state = await this.agentFolder(name);
    await run(join(BIN, "opslink-agent"), [...words, "--state", state], { timeout: 30_000 });
    return state;
  }

  /** Starts an agent with these words before its state folder. */
  async startAgent(name, words) {
    const state = words[0] === "join" ? await this.joinAgent(name, words) : await this.agentFolder(name);
    const agent = await start("opslink-agent", ["run", "--state", state, "--ready-json"]);
    this.agents.set(name, agent);
    return agent;
  }

  async stopAgent(name) {
    await end(this.agents.get(name).child);
    this.agents.delete(name);
  }

  async stop() {
    for (const name of [...this.agents.keys()]) await this.stopAgent(name);
    if (this.cloud) await end(this.cloud.child);
    await this.console?.close();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

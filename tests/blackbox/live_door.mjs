// SPDX-License-Identifier: Apache-2.0
// EventSource as npm has it: what a page's onmessage is called with, and that it comes back by itself where it was.
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(`${process.argv[2]}/`);
const EventSource = require("eventsource");
const origin = `http://${process.env.HTTP}`;
let failed = 0;

async function check(name, run) {
  try {
    await Promise.race([run(), new Promise((_, no) => setTimeout(no, 20000, new Error("not within 20 s")))]);
    console.log("ok", name);
  } catch (error) {
    failed++;
    console.log("not ok", name);
    console.log("  #", String(error.stack ?? error).replaceAll("\n", "\n  # "));
  }
}

async function publish(room, data) {
  const answer = await fetch(`${origin}/api/publish`, {
    method: "POST",
    body: JSON.stringify({ to: { room }, event: "e", data }),
  });
  if (answer.status !== 202) throw new Error(`publish: ${answer.status}`);
}

const opened = (source) => new Promise((yes, no) => ((source.onopen = yes), (source.onerror = no)));

await check("EventSource: onmessage gets every publication, with its id", async () => {
  const source = new EventSource(`${origin}/sse?room=node-1`);
  const heard = [];
  const three = new Promise((yes) => (source.onmessage = (event) => heard.push(event) === 3 && yes()));
  await opened(source);
  for (const n of [1, 2, 3]) await publish("node-1", { n });
  await three;
  source.close();
  const data = heard.map((event) => JSON.parse(event.data));
  if (data.some((one, i) => one.data.n !== i + 1 || one.room !== "node-1" || one.event !== "e" || heard[i].lastEventId !== one.id))
    throw new Error(JSON.stringify(data));
});

// What stands between us and ringmain, and can be cut.
function network() {
  const [host, port] = process.env.HTTP.split(":");
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), host);
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.on("data", (bytes) => to.write(bytes));
      from.on("error", () => to.destroy());
      from.on("close", () => (sockets.delete(from), to.destroy()));
    }
  });
  return { server, cut: () => sockets.forEach((socket) => socket.destroy()) };
}

await check("EventSource: comes back after its connection was cut, and hears what it missed", async () => {
  const { server, cut } = network();
  await new Promise((yes) => server.listen(0, "127.0.0.1", yes));
  const source = new EventSource(`http://127.0.0.1:${server.address().port}/sse?room=node-2`);
  const heard = [];
  let more = () => {};
  source.onmessage = (event) => (heard.push(JSON.parse(event.data).data), more());
  const until = (count) => new Promise((yes) => (more = () => heard.length >= count && yes()));
  await opened(source);
  const first = until(1);
  await publish("node-2", 1);
  await first;
  source.onerror = null;
  cut();
  const rest = until(4);
  for (const n of [2, 3, 4]) await publish("node-2", n);
  await rest;
  source.close();
  server.close();
  if (heard.join() !== "1,2,3,4") throw new Error(heard.join());
});

process.exit(failed ? 1 : 0);

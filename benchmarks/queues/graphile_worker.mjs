// graphile-worker as fast as its own documentation makes it: 24 jobs at once from a local queue of
// 500, finished ones completed in batches. Arguments and output as tally.py describes them.

import { Logger, makeWorkerUtils, run } from "graphile-worker";

const BATCH = 1000;
const SECOND_NS = 1_000_000_000n;
const [connectionString, ...sizes] = process.argv.slice(2);
const [warmUp, jobs] = sizes.map(Number);
const total = warmUp + jobs;
const preset = {
  worker: {
    connectionString,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger: new Logger(() => () => {}),
  },
};

const utils = await makeWorkerUtils({ preset });
await utils.migrate();
if (total > 0) console.log(await measure());
await utils.release();

async function measure() {
  await enqueue();
  const runs = new Uint8Array(total);
  let count = 0;
  let started;
  let ended;
  let allRan;
  const finished = new Promise((resolve) => (allRan = resolve));
  const task = async ({ number }) => {
    runs[number] += 1;
    count += 1;
    if (count === warmUp) started = process.hrtime.bigint();
    if (count === total) {
      ended = process.hrtime.bigint();
      allRan();
    }
  };
  const runner = await run({ preset, taskList: { benchmark: task } });
  await finished;
  await runner.stop();
  if (count !== total || runs.some((each) => each !== 1)) throw new Error("not exactly once each");
  const { rows } = await utils.withPgClient((client) =>
    client.query("SELECT count(*)::int AS left FROM graphile_worker._private_jobs"),
  );
  if (rows[0].left !== 0) throw new Error(`${rows[0].left} jobs are left`);
  return Number((BigInt(jobs) * SECOND_NS) / (ended - started));
}

async function enqueue() {
  for (let start = 0; start < total; start += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, total - start) }, (_, i) => start + i);
    await utils.addJobs(
      numbers.map((number) => ({
        identifier: "benchmark",
        payload: { number, note: "what is in a job of usual size" },
      })),
    );
  }
}

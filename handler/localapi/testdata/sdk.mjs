// Every method of the SDK, on a brief job, a long one and one that fails.
import assert from 'node:assert/strict'
import runpodSdk from 'runpod-sdk'

const [brief, long, wrong] = process.argv.slice(2).map((text) => JSON.parse(text))
const endpoint = runpodSdk(process.env.RUNPOD_API_KEY, { baseUrl: process.env.RUNPOD_ENDPOINT_BASE_URL }).endpoint('demo')
const whole = (...numbers) => numbers.forEach((n) => assert.ok(Number.isInteger(n), String(n)))

const done = await endpoint.runSync(brief)
assert.equal(done.status, 'COMPLETED')
assert.ok(done.completed && done.succeeded)
assert.equal(done.output.frames, 5)
whole(done.delayTime, done.executionTime)

const ticket = await endpoint.run(brief)
assert.equal(ticket.status, 'IN_QUEUE')
const chunks = []
for await (const chunk of endpoint.stream(ticket.id)) chunks.push(chunk)
assert.equal(chunks.length, 1)
assert.match(chunks[0].output.preview, /^data:image\/jpeg;base64,/)
const status = await endpoint.status(ticket.id)
assert.ok(status.started && status.completed && status.succeeded)
whole(status.delayTime, status.executionTime)

const failed = await endpoint.runSync(wrong)
assert.equal(failed.status, 'FAILED')
assert.equal(failed.succeeded, false)
assert.match(failed.error, /did you mean "width"/)
assert.equal(failed.output.error.field, 'widht')

const running = await endpoint.run(long)
const waiting = await endpoint.run(long)
assert.equal((await endpoint.statusSync(running.id, 1000)).status, 'IN_PROGRESS')
let health = await endpoint.health()
assert.deepEqual([health.jobs.inProgress, health.jobs.inQueue, health.workers.running], [1, 1, 1])
assert.deepEqual(await endpoint.purgeQueue(), { removed: 1, status: 'completed' })
assert.equal((await endpoint.status(waiting.id)).status, 'CANCELLED')
const cancelled = await endpoint.cancel(running.id)
assert.equal(cancelled.status, 'CANCELLED')
whole(cancelled.delayTime, cancelled.executionTime)
assert.equal((await endpoint.status(running.id)).status, 'CANCELLED')
health = await endpoint.health()
assert.deepEqual([health.jobs.inProgress, health.jobs.inQueue, health.jobs.completed >= 2, health.jobs.failed], [0, 0, true, 1])
await assert.rejects(endpoint.status('nobody'), (e) => e.response.status === 404)

console.log('all is well')

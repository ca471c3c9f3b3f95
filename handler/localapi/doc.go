// Package localapi is RunPod's endpoint API, served by the worker itself: the same addresses, bodies and states, for
// people, for RunPod's SDKs and for the page. Jobs go through the Handler that the queue's worker has, so that their
// answers are the same. It knows nothing of what a job means.
//
// What it promises:
//
//   - Never lost. A job that was answered with an id ends in a final state, which is kept for 30 minutes and sent to the
//     job's webhook. A server that is told to end finishes the jobs that run and fails those that wait, with the reason.
//     The queue lives in the process: what a killed server had is gone, but for results in the store.
//   - Never twice. A job that is sent again under its own id while it waits or runs is the same job.
//   - Never after cancel. Its context is cancelled, and what its handler returns afterwards is dropped. The place is free
//     again when the handler has returned, not before.
//   - Bounded. Jobs that wait, bodies, uploads, chunks, results and streams of events have limits; what does not fit is
//     refused with the limit and the cure, and what is finished makes room.
//   - Not for strangers. Without a key only this machine is listened to, under its own names, and pages of other origins
//     are refused.
//
// The data's way through the files: listen, route (the table of all addresses), guard (who may ask), wire (the bodies),
// submit, queue, job, run (handler, reporter), answer, webhook, retain; beside it stream, events, uploads, jobs, openapi.
// Server.Serve ties them together.
package localapi

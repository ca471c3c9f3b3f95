// Package runpod is a worker for RunPod's serverless queue: it takes jobs, hands each to a Handler, and posts what comes
// back. It knows nothing of what a job means.
//
// Three promises:
//
//   - Never lost. A result is written to the state folder before it is first posted, and posted until RunPod has answered;
//     a worker that is killed posts it after its next start. A job that cannot be run (malformed input, a handler that
//     panics, a model that does not load, an output that is no JSON or too large) is answered with the reason.
//   - Never twice. A job that is given out again while it runs, while its result is under way or after that is not run
//     again; its result is posted again.
//   - Never after cancel. Once the stop channel has named a job, its context is cancelled, nothing is posted for it any
//     more, and it is not started if it arrives later.
//
// They hold under these assumptions:
//
//   - RunPod gives a job out again when the worker that took it died without an answer. The worker leaves unanswered:
//     jobs that were running when it was killed or told to stop at once, and jobs that it had not begun when it was told
//     to shut down.
//   - RunPod can be reached again within WORKER_RESULT_RETRY_WINDOW. A result that is given up stays in the state folder
//     and is posted when the job is given out again, or after the next start.
//   - After a restart the worker has the same id (RUNPOD_POD_ID) and state folder, and the machine has not crashed in
//     between: state survives the process, not the kernel. "Never twice" between two workers is RunPod's affair.
//   - A handler returns soon after its context ends. One that does not is abandoned after ten seconds: nothing is posted,
//     and the worker shuts down as soon as its other jobs are done, because nothing else can free what the handler holds.
//   - A success is remembered for an hour, a failure or a cancellation for two minutes: after that the same id means that
//     the client asked RunPod to retry the job.
//   - RunPod answers a second final result for the same job with a 4xx, or ignores it. When an answer got lost nobody can
//     know whether the result arrived, so the worker posts it again.
//
// The data's way through the files: address, client, take, envelope, desk (who may run, what is remembered: ledger),
// execute, report (progress, stream), body, deliver; beside it ping, stop, prestart, fitness and log. Worker.Run ties them
// together.
package runpod

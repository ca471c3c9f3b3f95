// node run.mjs ta|tia: sends a job, shows how it gets on, and fetches the video.
import { readFile, writeFile } from 'node:fs/promises'
import runpodSdk from 'runpod-sdk'

const env = process.env
const endpoint = runpodSdk(env.RUNPOD_API_KEY ?? 'local', {
  baseUrl: env.RUNPOD_ENDPOINT_BASE_URL ?? 'http://localhost:8000/v2',
}).endpoint(env.RUNPOD_ENDPOINT_ID ?? 'local')

// source is a file in the form in which it goes into a job.
async function source(name, type) {
  const bytes = await readFile(new URL(`../../testinput/${name}`, import.meta.url))
  return { type, data: bytes.toString('base64') }
}

const mode = process.argv[2]
if (!['ta', 'tia'].includes(mode)) {
  console.error('usage: node run.mjs ta|tia')
  process.exit(2)
}

const { id } = await endpoint.run({
  input: {
    prompt: 'A woman with brown hair and a blue jumper looks into the camera and speaks calmly, plain grey background.',
    audio: await source('voice.wav', 'audio/wav'),
    images: mode === 'tia' ? [await source('person.png', 'image/png')] : [],
    frames: 9, width: 96, height: 64, steps: 4, seed: 42,
  },
})

let job
do {
  await new Promise((resume) => setTimeout(resume, 1000))
  job = await endpoint.status(id)
  const { stage = '', step = '', steps = '' } = job.completed ? {} : (job.output ?? {})
  console.log(`${id}: ${job.status} ${stage} ${step}${stage && '/'}${steps}`)
} while (!job.completed)

if (!job.succeeded) {
  console.error(job.error, job.output ?? '')
  process.exit(1)
}
const video = await fetch(job.output.video_url)
if (!video.ok) throw new Error(`${video.status} for ${job.output.video_url}`)
await writeFile('video.mp4', Buffer.from(await video.arrayBuffer()))
console.log('The video: video.mp4')

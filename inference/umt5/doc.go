// Package umt5 is the text side of HuMo: a prompt becomes clean text, the text becomes token ids of google/umt5-xxl,
// and the ids become the embedding that the video model attends to.
//
// It promises the very characters and ids of the reference: cleaning follows ftfy 6.3.1, Python's html.unescape and
// the regex module, tokenizing follows the published tokenizer.json. It must not know jobs, files other than its own,
// video or audio.
package umt5

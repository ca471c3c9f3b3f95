package weights

// Need says what the engine does with a published file.
type Need uint8

const (
	// Required: without it the variant does not run.
	Required Need = iota
	// Optional: used where it fits, computed where it is missing.
	Optional
	// OnDemand: needed by the jobs that ask for it.
	OnDemand
	// Unread: part of the published layout, opened by nothing here.
	Unread
)

// File is one row of the table of published files.
type File struct {
	Path     string // below the root, with slashes
	Repo     string // repository id on the model hub
	Revision string // the pinned commit
	Source   string // the path inside the repository
	Bytes    int64  // 0: not known
	SHA256   string // the leading hex digits that are known; may be empty
	Need     Need
	Variant  string // "1.7B" or "17B"; empty: both. The modes TA and TIA need the same files.
	Sharded  bool   // an index: the files of its weight_map are needed too, from the same folder
	Purpose  string
}

// The variants that Require knows; the strings of inference.Variant.
const (
	variant1B  = "1.7B"
	variant17B = "17B"
)

const (
	wanFolder     = "Wan2.1-T2V-1.3B"
	whisperFolder = "whisper-large-v3"

	pathDiT1B           = "HuMo/HuMo-1.7B/ema.pth"
	pathDiT17B          = "HuMo/HuMo-17B/humo.safetensors.index.json"
	pathZeroVAE480      = "HuMo/zero_vae_129frame.pt"
	pathZeroVAE720      = "HuMo/zero_vae_720p_161frame.pt"
	pathVAE             = wanFolder + "/Wan2.1_VAE.pth"
	pathUMT5            = wanFolder + "/models_t5_umt5-xxl-enc-bf16.pth"
	pathTokenizer       = wanFolder + "/google/umt5-xxl/tokenizer.json"
	pathTokenizerConfig = wanFolder + "/google/umt5-xxl/tokenizer_config.json"
	pathSpecialTokens   = wanFolder + "/google/umt5-xxl/special_tokens_map.json"
	pathSentencePiece   = wanFolder + "/google/umt5-xxl/spiece.model"
	pathWhisper         = whisperFolder + "/model.safetensors"
	pathWhisperConfig   = whisperFolder + "/config.json"
	pathFeatures        = whisperFolder + "/preprocessor_config.json"
	pathSeparator       = "audio_separator/Kim_Vocal_2.onnx"
)

const (
	repoHuMo    = "bytedance-research/HuMo"
	repoWan     = "Wan-AI/Wan2.1-T2V-1.3B"
	repoWhisper = "openai/whisper-large-v3"

	revHuMo    = "3a4a1610d399a5cbb932d54dc229944029803ff7"
	revWan     = "37ec512624d61f7aa208f7ea8140a131f93afc9a"
	revWhisper = "06f233fe06e710322aca913c1bc4249a0d71fce1"
)

// published lists every file of the layout that the reference expects. Sizes and digests are those of the pinned
// revisions as far as they are publicly known; the 17B's shards are named by its index only.
var published = []File{
	{Path: pathDiT1B, Repo: repoHuMo, Revision: revHuMo, Source: "HuMo-1.7B/ema.pth",
		Bytes: 7_037_053_233, SHA256: "04126194caa9820c", Variant: variant1B, Purpose: "diffusion transformer, 1.7B"},
	{Path: pathDiT17B, Repo: repoHuMo, Revision: revHuMo, Source: "HuMo-17B/humo.safetensors.index.json",
		Variant: variant17B, Sharded: true, Purpose: "diffusion transformer, 17B: the index of its shards"},
	{Path: pathZeroVAE480, Repo: repoHuMo, Revision: revHuMo, Source: "zero_vae_129frame.pt",
		SHA256: "c458d9ea111ea110", Need: Optional, Variant: variant17B, Purpose: "encoded mid-grey clip, 832x480"},
	{Path: pathZeroVAE720, Repo: repoHuMo, Revision: revHuMo, Source: "zero_vae_720p_161frame.pt",
		Need: Optional, Variant: variant17B, Purpose: "encoded mid-grey clip, 1280x720"},
	{Path: pathVAE, Repo: repoWan, Revision: revWan, Source: "Wan2.1_VAE.pth",
		Bytes: 507_609_880, SHA256: "38071ab59bd94681", Purpose: "video autoencoder"},
	{Path: pathUMT5, Repo: repoWan, Revision: revWan, Source: "models_t5_umt5-xxl-enc-bf16.pth",
		Bytes: 11_361_920_418, SHA256: "7cace0da2b446bbb", Purpose: "text encoder"},
	{Path: pathTokenizer, Repo: repoWan, Revision: revWan, Source: "google/umt5-xxl/tokenizer.json",
		Bytes: 16_837_417, SHA256: "6e197b4d3dbd71da", Purpose: "text tokenizer"},
	{Path: pathTokenizerConfig, Repo: repoWan, Revision: revWan, Source: "google/umt5-xxl/tokenizer_config.json",
		Bytes: 61_728, SHA256: "ed9a3a8b0faa71a7", Need: Unread, Purpose: "settings of the Python tokenizer"},
	{Path: pathSpecialTokens, Repo: repoWan, Revision: revWan, Source: "google/umt5-xxl/special_tokens_map.json",
		Bytes: 6_623, SHA256: "7b8a9f5040adb67b", Need: Unread, Purpose: "settings of the Python tokenizer"},
	{Path: pathSentencePiece, Repo: repoWan, Revision: revWan, Source: "google/umt5-xxl/spiece.model",
		Bytes: 4_548_313, SHA256: "e3909a67b780650b", Need: Unread, Purpose: "vocabulary of the slow tokenizer"},
	{Path: pathWhisper, Repo: repoWhisper, Revision: revWhisper, Source: "model.safetensors",
		Bytes: 3_087_130_976, SHA256: "a8e94b85976e5864", Purpose: "audio encoder"},
	{Path: pathWhisperConfig, Repo: repoWhisper, Revision: revWhisper, Source: "config.json",
		Purpose: "the audio encoder's number of heads"},
	{Path: pathFeatures, Repo: repoWhisper, Revision: revWhisper, Source: "preprocessor_config.json",
		Need: Unread, Purpose: "settings of the Python feature extractor"},
	{Path: pathSeparator, Repo: repoHuMo, Revision: revHuMo, Source: "audio_separator/Kim_Vocal_2.onnx",
		Bytes: 66_759_214, SHA256: "ce74ef3b6a6024ce", Need: OnDemand, Purpose: "vocal separator"},
}

// Published returns the table of every file of the published layout.
func Published() []File {
	return append([]File(nil), published...)
}

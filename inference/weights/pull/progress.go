package pull

// Phase is what happens to a file.
type Phase string

// The phases of a file, in their order. Fetching is left out for a file that is there, and so is Checking where the file's
// size was enough.
const (
	Planned  Phase = "planned"  // it is known what the file must be
	Fetching Phase = "fetching" //
	Checking Phase = "checking" // its digest is computed
	Done     Phase = "done"     // it is in its place
)

// Progress is where a file stands.
type Progress struct {
	Path  string // as in the table of published files
	Phase Phase
	Bytes int64 // Fetching: of the file are there; Checking: have been read
	Total int64
}

// Summary is what a pull did.
type Summary struct {
	Files   int   // that are in place
	Bytes   int64 // of them
	Fetched int64 // bytes that were written; more than were missing if some had to be fetched again
	Found   int   // files that were there before
	Linked  int   // files that lie in a cache and are used there
}

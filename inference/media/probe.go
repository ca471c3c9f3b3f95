package media

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Info describes a media file. A stream that the file lacks is nil.
type Info struct {
	Duration float64 // seconds
	Video    *VideoInfo
	Audio    *AudioInfo
}

// VideoInfo describes the first video stream.
type VideoInfo struct {
	Codec, PixelFormat         string
	Space, Primaries, Transfer string // of the colours, e.g. "bt709"
	Range                      string // "tv" is limited, "pc" full
	Width, Height              int
	FPS                        float64
	Frames                     int // counted by decoding them, not taken from the header
	Start, Duration            float64
}

// AudioInfo describes the first audio stream.
type AudioInfo struct {
	Codec           string
	Rate, Channels  int
	Start, Duration float64 // seconds; 0 where the container does not say
}

// Probe reads the file with ffprobe and counts its video frames by decoding them.
// Faults: media_undecodable, media_limit, media_stuck, media_killed, ffmpeg_missing, ffmpeg_unusable.
func Probe(ctx context.Context, path string) (*Info, error) {
	return probe(ctx, path, fault.New("media_undecodable", "", "The file is damaged or of a format that is not supported."), "-count_frames")
}

// probe returns unreadable, with its cause, if ffprobe cannot make sense of the file.
func probe(ctx context.Context, path string, unreadable *fault.Error, options ...string) (*Info, error) {
	file, err := os.Stat(path)
	if err != nil {
		return nil, unreadable.Because(err)
	}
	if !file.Mode().IsRegular() { // a pipe or a device could block for ever
		return nil, unreadable.Because(fmt.Errorf("%s is not a regular file", path))
	}
	args := append([]string{"-hide_banner", "-loglevel", "error", "-of", "json", "-show_entries", "format=duration:stream=codec_type,codec_name," +
		"pix_fmt,color_space,color_primaries,color_transfer,color_range,width,height,r_frame_rate,nb_read_frames,sample_rate,channels,start_time,duration"}, options...)
	path, policy, err := reading(path)
	if err != nil {
		return nil, unreadable.Because(err)
	}
	t, err := newTool(ctx, "ffprobe", policy, append(args, untrusted(path)...)...)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var out bytes.Buffer
	t.Stdout = &out
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	if err := t.Wait(); err != nil {
		if cancelled := interrupted(ctx, "probe media"); cancelled != nil {
			return nil, cancelled
		}
		if err := stopped(t.Cmd, "file", unreadable.Field, err); err != nil {
			return nil, err
		}
		return nil, unreadable.Because(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, unreadable.Because(fmt.Errorf("ffprobe's report: %w", err))
	}
	return r.info(), nil
}

// report is ffprobe's JSON, in which most numbers are strings and any may be missing.
type report struct {
	Streams []stream
	Format  struct{ Duration string }
}

type stream struct {
	Type      string `json:"codec_type"`
	Codec     string `json:"codec_name"`
	PixFmt    string `json:"pix_fmt"`
	Space     string `json:"color_space"`
	Primaries string `json:"color_primaries"`
	Transfer  string `json:"color_transfer"`
	Range     string `json:"color_range"`
	Width     int
	Height    int
	FPS       string `json:"r_frame_rate"`
	Frames    string `json:"nb_read_frames"`
	Rate      string `json:"sample_rate"`
	Channels  int
	Start     string `json:"start_time"`
	Duration  string
}

func (r *report) info() *Info {
	info := &Info{Duration: number(r.Format.Duration)}
	for _, s := range r.Streams {
		switch {
		case s.Type == "video" && info.Video == nil:
			info.Video = &VideoInfo{Codec: s.Codec, PixelFormat: s.PixFmt, Space: s.Space, Primaries: s.Primaries, Transfer: s.Transfer, Range: s.Range,
				Width: s.Width, Height: s.Height, FPS: number(s.FPS), Frames: count(s.Frames), Start: number(s.Start), Duration: number(s.Duration)}
		case s.Type == "audio" && info.Audio == nil:
			info.Audio = &AudioInfo{Codec: s.Codec, Rate: count(s.Rate), Channels: s.Channels, Start: number(s.Start), Duration: number(s.Duration)}
		}
	}
	return info
}

// count reads a number of things; 0 for anything else.
func count(s string) int {
	if v := number(s); v > 0 && v <= math.MaxInt32 {
		return int(v)
	}
	return 0
}

// number reads "25", "0.04" or "30000/1001"; 0 for anything else, such as what is not finite.
func number(s string) float64 {
	above, below, isRatio := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(above, 64)
	if err != nil {
		return 0
	}
	if isRatio {
		d, err := strconv.ParseFloat(below, 64)
		if err != nil || d == 0 {
			return 0
		}
		v /= d
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

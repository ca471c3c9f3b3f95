package weights

import "strings"

// piece is an entry of the demo's vocabulary.
type piece struct {
	text  string
	score float64
	kind  uint64 // sentencepiece's type; 0: normal
}

// The piece types of sentencepiece.
const (
	kindUnknown = 2
	kindControl = 3
	kindUser    = 4
	kindByte    = 6
)

// meta is sentencepiece's mark for a space, U+2581.
const meta = "▁"

// pieces is the demo's vocabulary in the order of its ids: the published one's special pieces at their places, the 256
// byte pieces (present and unused, as published), words and letters of English, the phrases and characters of the
// default negative prompt, and the 300 extra ids. Earlier pieces score higher, in steps that JSON writes exactly.
func pieces() []piece {
	list := []piece{{"<pad>", 0, kindControl}, {"</s>", 0, kindControl}, {"<s>", 0, kindControl}, {"<unk>", 0, kindUnknown},
		{"[doc]", 0, kindUser}, {"[web]", 0, kindUser}}
	const hex = "0123456789ABCDEF"
	for b := range 256 {
		list = append(list, piece{"<0x" + hex[b>>4:b>>4+1] + hex[b&15:b&15+1] + ">", 0, kindByte})
	}
	seen, score := map[string]bool{}, 3.0
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			list = append(list, piece{s, -score, 0})
			score += 1.0 / 128
		}
	}
	add(meta)
	for _, w := range strings.Fields(words) {
		add(meta + w)
	}
	for _, s := range strings.Fields(endings) {
		add(s)
	}
	for _, s := range strings.Split(negativePhrases, "，") {
		add(s)
	}
	for c := 'a'; c <= 'z'; c++ {
		add(string(c))
		add(meta + string(c))
	}
	for c := rune('!'); c <= '~'; c++ {
		add(string(c))
	}
	for _, c := range negativePhrases + "。？！、：；“”《》（）…—·" {
		add(string(c))
	}
	for i := 299; i >= 0; i-- {
		list = append(list, piece{extraID(i), 0, 0})
	}
	return list
}

// negativePhrases is the reference's default negative prompt, so that the demo reads it as words.
const negativePhrases = "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，" +
	"多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"

const words = `a the of and to in is on with at for from by an as it its his her their he she they that this which who while into over
under near behind between around through up down out off after before then when where there here one two three four some many few
all both each more most very slowly quickly softly gently brightly clearly man woman person people girl boy child young old middle
aged face hair eyes hand hands arm arms head shoulder mouth lips smile smiling voice talking talks speaking speaks says singing
sings laughing looking looks camera close closeup shot view scene medium wide frame background foreground front side left right
center light lights lighting lit soft warm cool cold bright dark shadow shadows sun sunlight sunset morning evening night day sky
cloud clouds rain snow wind sea ocean beach river lake mountain forest tree trees grass flower flowers garden park street city
town road car train bus window door wall room table chair desk sofa bed lamp book phone microphone guitar piano stage audience
studio office kitchen cafe restaurant house home building black white red green blue yellow orange purple pink brown grey gray
gold golden silver color colors wearing wears dress shirt suit jacket coat hat glasses tie scarf shoes holding holds standing
stands sitting sits walking walks running dancing playing plays cat dog bird horse animal cinematic realistic film movie style
video image picture photo high detailed quality sharp blurred blurry motion moving moves still static beautiful calm happy sad
angry serious confident elegant modern vintage simple small large big tall short long round clear deep depth field bokeh`

const endings = `ing ed er est ly tion ment ness able ful less ous ive al ic ity es en re in an on or ar at it is st nd th ch sh qu
ou ea ee ai ay ow oo ie er's 's n't`

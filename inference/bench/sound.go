package bench

import (
	"encoding/binary"
	"fmt"
)

// wav is a mono sound file of 16-bit samples.
func wav(wave []float32) []byte {
	size := uint32(2 * len(wave))
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, 36+size)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	for _, n := range []uint16{1, 1} { // PCM, one channel
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, sampleRate)
	b = binary.LittleEndian.AppendUint32(b, 2*sampleRate)
	for _, n := range []uint16{2, 16} { // bytes of a frame, bits of a sample
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	for _, x := range wave {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(x*32767)))
	}
	return b
}

// fromRate says how long a wave is.
func fromRate(samples int) string {
	return fmt.Sprintf("%s s of sound", digits(float64(samples)/sampleRate))
}

package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sort"
)

// writeSafetensors writes one safetensors file, tensors sorted by name.
func writeSafetensors(out io.Writer, list []tensor) error {
	list = append([]tensor(nil), list...)
	sort.Slice(list, func(a, b int) bool { return list[a].name < list[b].name })
	var h bytes.Buffer
	h.WriteString(`{"__metadata__":{"format":"pt"}`)
	at := int64(0)
	for _, t := range list {
		name, err := json.Marshal(t.name)
		if err != nil {
			return err
		}
		shape, err := json.Marshal(append([]int64{}, t.shape...)) // [] for a scalar
		if err != nil {
			return err
		}
		fmt.Fprintf(&h, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, t.dtype, shape, at, at+t.bytes())
		at += t.bytes()
	}
	h.WriteByte('}')
	for h.Len()%8 != 0 {
		h.WriteByte(' ')
	}
	w := newCounter(out)
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(h.Len()))); err != nil {
		return err
	}
	if _, err := w.Write(h.Bytes()); err != nil {
		return err
	}
	for _, t := range list {
		if err := t.writeTo(w); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return w.Flush()
}

// shards cuts a list of tensors, in their order, into n files of about equal size and returns them with their names
// and the index that names them.
func shards(list []tensor, n int) (names []string, parts [][]tensor, index []byte, err error) {
	total := int64(0)
	for _, t := range list {
		total += t.bytes()
	}
	n = max(n, 1)
	parts = make([][]tensor, n)
	weightMap, at := map[string]string{}, int64(0)
	for i := range n {
		names = append(names, fmt.Sprintf("humo-%05d-of-%05d.safetensors", i+1, n))
	}
	for _, t := range list {
		i := min(int(at*int64(n)/max(total, 1)), n-1)
		parts[i] = append(parts[i], t)
		weightMap[t.name] = names[i]
		at += t.bytes()
	}
	index, err = json.MarshalIndent(map[string]any{
		"metadata":   map[string]any{"total_size": total},
		"weight_map": weightMap,
	}, "", "  ")
	return names, parts, append(index, '\n'), err
}

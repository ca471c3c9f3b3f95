package weights

import "github.com/humo-worker/humo-worker/inference/checkpoint"

// umt5Tensors are the text encoder's, in BF16. It has no biases, and no 1/sqrt(d) in its attention: q's gain holds it.
func umt5Tensors(d UMT5Dims) []tensor {
	n := &network{dtype: checkpoint.BF16}
	n.add("token_embedding.weight", around(0, 1), d.Vocabulary, d.Dim)
	head := float64(d.Attention / d.Heads)
	for l := range d.Layers {
		b := block("blocks", l)
		n.add(b+".norm1.weight", around(1, 0.05), d.Dim)
		n.add(b+".attn.q.weight", fanIn(1.5/head, d.Attention, d.Dim), d.Attention, d.Dim)
		n.add(b+".attn.k.weight", fanIn(1, d.Attention, d.Dim), d.Attention, d.Dim)
		n.add(b+".attn.v.weight", fanIn(1, d.Attention, d.Dim), d.Attention, d.Dim)
		n.add(b+".attn.o.weight", fanIn(1, d.Dim, d.Attention), d.Dim, d.Attention)
		n.add(b+".norm2.weight", around(1, 0.05), d.Dim)
		n.add(b+".ffn.gate.0.weight", fanIn(1, d.FFN, d.Dim), d.FFN, d.Dim)
		n.add(b+".ffn.fc1.weight", fanIn(1, d.FFN, d.Dim), d.FFN, d.Dim)
		n.add(b+".ffn.fc2.weight", fanIn(1, d.Dim, d.FFN), d.Dim, d.FFN)
		n.add(b+".pos_embedding.embedding.weight", around(0, 0.5), d.Buckets, d.Heads)
	}
	n.add("norm.weight", around(1, 0.05), d.Dim)
	return n.list
}

// umt5Modules are the module paths that the published file's _metadata lists.
func umt5Modules(d UMT5Dims) []string {
	list := []string{"", "token_embedding", "dropout", "blocks"}
	for l := range d.Layers {
		for _, m := range []string{"", ".norm1", ".attn", ".attn.q", ".attn.k", ".attn.v", ".attn.o", ".attn.dropout", ".norm2", ".ffn",
			".ffn.gate", ".ffn.gate.0", ".ffn.gate.1", ".ffn.fc1", ".ffn.fc2", ".ffn.dropout", ".pos_embedding", ".pos_embedding.embedding"} {
			list = append(list, block("blocks", l)+m)
		}
	}
	return append(list, "norm")
}

package umt5

// badness holds the neighbourhoods that are far likelier in mojibake than in text that someone meant.
var badness = badnessRules()

func badnessRules() pattern {
	// beside is what makes a bad character next to it a sign of mojibake.
	const beside = kindLowerAccented + kindUpperAccented + kindBox + kindStartPunctuation + kindEndPunctuation +
		kindCurrency + kindNumeric + kindLaw
	var (
		anyLetter     = oneOf("a-zA-Z")
		lowerLetter   = oneOf("a-z")
		space         = class(isPythonSpace)
		word          = class(isPythonWord)
		c1            = oneOf(kindC1)
		bad           = oneOf(kindBad)
		currency      = oneOf(kindCurrency)
		startPunct    = oneOf(kindStartPunctuation)
		endPunct      = oneOf(kindEndPunctuation)
		numeric       = oneOf(kindNumeric)
		box           = oneOf(kindBox)
		kaomoji       = oneOf(kindKaomoji)
		lowerAccented = oneOf(kindLowerAccented)
		upperAccented = oneOf(kindUpperAccented)
		accented      = oneOf(kindLowerAccented + kindUpperAccented)
		common        = oneOf(kindLowerCommon + kindUpperCommon)
		arabicTrail   = oneOf(kindCommon + kindCurrency + kindBad + kindNumeric + kindStartPunctuation + "ŸŠ®°µ»")
	)
	return pattern{
		{c1},
		{oneOf(kindBad + beside), bad},
		{anyLetter, common, bad},
		{bad, oneOf(beside)},
		{oneOf(kindLowerAccented + kindLowerCommon + kindBox + kindEndPunctuation + kindCurrency + kindNumeric), upperAccented},
		{oneOf(kindBox + kindEndPunctuation + kindCurrency + kindNumeric), lowerAccented},
		{oneOf(kindLowerAccented + kindBox + kindEndPunctuation), currency},
		{space, upperAccented, currency},
		{oneOf(kindUpperAccented + kindBox), oneOf(kindNumeric + kindLaw)},
		{oneOf(kindLowerAccented + kindUpperAccented + kindBox + kindCurrency + kindEndPunctuation), startPunct, numeric},
		{oneOf(kindLowerAccented + kindUpperAccented + kindCurrency + kindNumeric + kindBox + kindLaw), endPunct, startPunct},
		{oneOf(kindCurrency + kindNumeric + kindBox), startPunct},
		{lowerLetter, upperAccented, oneOf(kindStartPunctuation + kindCurrency)},
		{box, kaomoji},
		{oneOf(kindLowerAccented + kindUpperAccented + kindCurrency + kindNumeric + kindStartPunctuation +
			kindEndPunctuation + kindLaw), box},
		{box, endPunct},
		{accented, oneOf(kindStartPunctuation + kindEndPunctuation), word},

		// The ligature œ when no unaccented Latin letter follows.
		{oneOf("Œœ"), noneOf("A-Za-z")},

		// Degree signs after capital letters.
		{upperAccented, oneOf("°")},

		// Common pairs of Windows-1252 mojibake that the rules above miss.
		{oneOf("ÂÃÎÐ"), oneOf("€œŠš¢£Ÿž\u00a0\u00ad®©°·»" + kindStartPunctuation + kindEndPunctuation + "–—´")},
		{oneOf("×"), oneOf("²³")},

		// Arabic words in Windows-1252 need the common characters too; to make up for that, four in a row are asked for.
		{oneOf("ØÙ"), arabicTrail, oneOf("ØÙ"), arabicTrail},

		// Windows-1252: the start of three characters of some South Asian alphabets.
		{oneOf("à"), oneOf("²µ¹¼½¾")},

		// MacRoman.
		{oneOf("√"), oneOf("±∂†≠®™´≤≥¥µø")},
		{oneOf("≈"), oneOf("°¢")},
		{oneOf("‚"), oneOf("Ä"), oneOf("ìîïòôúùû†°¢π")},
		{oneOf("‚"), oneOf("âó"), oneOf("àä°ê")},

		// Windows-1251: U+2000 and up; then Latin-1 characters and Cyrillic, where two in a row are no sign yet; then
		// Windows-1251 on top of Latin-1 on top of Windows-1252, near a Latin letter.
		literal("вЂ"),
		{oneOf("ВГРС"), oneOf(kindC1 + kindBad + kindStartPunctuation + kindEndPunctuation + kindCurrency + "°µ"), oneOf("ВГРС")},
		append(literal("ГўВЂВ"), noneOf("\n"), oneOf("A-Za-z ")),

		// Windows-1252: "à", "á", and the no-break space itself.
		{oneOf("Ã"), oneOf("\u00a0¡")},
		{lowerLetter, oneOf("ÃÂ"), oneOf(" ")},
		{lowerLetter, space, oneOf("ÃÂ"), oneOf(" ")},

		// Â before a character as an encoding of that very character, if it is common enough.
		{oneOf("a-z.,?!" + kindEndPunctuation), oneOf("Â"), oneOf(" " + kindStartPunctuation + kindEndPunctuation)},

		// Windows-1253: U+2000 and up; then Latin-1 characters and Greek.
		{oneOf("β"), oneOf("€"), oneOf("™\u00a0Ά\u00ad®°")},
		{oneOf("ΒΓΞΟ"), oneOf(kindC1 + kindBad + kindStartPunctuation + kindEndPunctuation + kindCurrency + "°"), oneOf("ΒΓΞΟ")},

		// Windows-1257: U+2000 and up.
		literal("ā€"),
	}
}

// badnessAtStart holds what is bad only at the very start of a text.
var badnessAtStart = pattern{
	{oneOf("ÃÂ"), oneOf(" ")},
}

// isBad tells whether text looks as if it held mojibake: ftfy's badness heuristic, a search for any of its rules.
func isBad(text []rune) bool {
	if matchAt(badnessAtStart, text, 0) > 0 {
		return true
	}
	for i := range text {
		// Every rule asks for a character beyond ASCII in one of its first three places.
		if !isASCII(text[i:min(i+3, len(text))]) && matchAt(badness, text, i) > 0 {
			return true
		}
	}
	return false
}

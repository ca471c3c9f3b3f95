package umt5

// The characters that UTF-8 makes when it is read in the encodings of ftfy_charmaps.go, by what they mean for the
// badness heuristic. Written as the inside of a bracket expression; from ftfy.badness (see the NOTICE in ftfy.go).
const (
	kindCommon           = "\u00a0\u00ad·´–—―…’"       // appear in many contexts
	kindC1               = "\u0080-\u009f"             // have no use outside mojibake
	kindBad              = "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\ufffdªº" // nearly always mojibake
	kindLaw              = "¶§"                        // legalese
	kindCurrency         = "¢£¥₧€"
	kindStartPunctuation = "¡«¿©΄΅‘‚“„•‹\uf8ff"
	kindEndPunctuation   = "®»˝”›™"
	kindNumeric          = "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"
	kindKaomoji          = "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°" // letters of emoticon faces, which stand in improbable places
	kindUpperAccented    = "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"
	kindLowerAccented    = "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґ\ufb01\ufb02"
	kindUpperCommon      = "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я" // not under accented: at ends of words these are no sign of mojibake
	kindLowerCommon      = "α-ωάέήίΰа-џ"
	kindBox              = "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"
)

// What the bytes of UTF-8 look like in those encodings: the lead bytes of sequences of two (C2-DF), three (E0-EF) and
// four (F0, F3), and the continuation bytes (80-BF) with a space for A0. The strict ones leave out what may stand for
// itself beside mojibake: spaces, dashes, the bullet, quotation marks, the ellipsis. From ftfy.chardata.
const (
	clueFirstOf2           = "ĂÂÄĀÅÃÆĆČÇĎĐÉĚÊËĖÈĒĘÐĞĢÍÎÏİÌĪĶĹĻŁŃŇŅÑÓÔÖŐÒŌØÕŘŚŠŞŢÞÚÛÜŰÙŪŲŮÝŹŽŻß×ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
	clueFirstOf3           = "áăâäàāąåãæćčçďéěêëėèēęęģíîïìīįķĺļŕźΰαβγδεζηθικλμνξοабвгдежзийклмноп"
	clueFirstOf4           = "đðğóšπσру"
	clueContinuation       = "\u0080-¿\u0020ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ–—―‘’‚“”„†‡•…‰‹›€№™"
	clueContinuationStrict = "\u0080-¿ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡‰‹›€№™"
)

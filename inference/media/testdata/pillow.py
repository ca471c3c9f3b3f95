"""Writes this folder's pictures, what Pillow 9.4.0 decodes them to (NAME.png), and the hashes of its letterboxed
pictures (letterbox.json): python3 pillow.py. The tests read the results; nothing runs this file."""
import hashlib, json
import numpy as np
from PIL import Image

rng = np.random.default_rng(7)


def photo(w, h):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    a = np.stack([127 + 120 * np.sin(x / 5 + y / 9), 127 + 120 * np.cos(x / 7 - y / 4), 127 + 120 * np.sin((x + y) / 6)], -1)
    a += rng.normal(0, 8, a.shape)
    a[(x // 8 + y // 6) % 5 == 0] = [230, 20, 30]
    a[((x - w / 2) ** 2 + (y - h / 2) ** 2) < (min(w, h) / 4) ** 2] = [10, 40, 220]
    return Image.fromarray(a.clip(0, 255).astype("uint8"))


def save(im, name, **options):
    im.save(name, **options)
    Image.open(name).convert("RGB").save(name + ".png")


im = photo(37, 29)
rgba = np.array(im.convert("RGBA"))
rgba[..., 3] = rng.integers(0, 256, rgba.shape[:2])
rgba[::3, ::2, 3] = 0
rgba = Image.fromarray(rgba)
p = im.convert("P", palette=Image.ADAPTIVE, colors=32)

save(im, "444.jpg", quality=85, subsampling=0)
save(im, "422.jpg", quality=85, subsampling=1)
save(im, "420.jpg", quality=85, subsampling=2)
save(im, "progressive.jpg", quality=80, subsampling=2, progressive=True)
save(photo(4, 5), "narrow.jpg", quality=85, subsampling=2)
save(im.convert("L"), "grey.jpg", quality=85)
save(im.convert("CMYK"), "cmyk.jpg", quality=85)
save(im, "lossy.webp", quality=80)
save(photo(16, 18), "even.webp", quality=80)
save(photo(1, 3), "sliver.webp", quality=80)
save(rgba, "alpha.webp", quality=80)
save(rgba, "lossless.webp", lossless=True, exact=True)
save(rgba, "rgba.png")
save(im.convert("LA"), "grey_alpha.png")
save(im.convert("1"), "bits.png")
save(p, "palette_alpha.png", transparency=3)
save(p, "transparent.gif", transparency=3)
save(im, "24.bmp")
save(rgba, "32.bmp")
save(p, "palette.bmp")
im.save("animated.webp", save_all=True, append_images=[photo(37, 29)], duration=40)
Image.fromarray((np.arange(24, dtype="uint16") * 2777).reshape(4, 6)).save("grey16.png")


def letterbox(im, W, H):
    w, h = im.size
    ratio = w / h
    nw, nh = (W, int(W / ratio)) if ratio > W / H else (int(H * ratio), H)
    out = Image.new("RGB", (W, H), (255, 255, 255))
    out.paste(im.resize((nw, nh), Image.LANCZOS), ((W - nw) // 2, (H - nh) // 2))
    return out


cases = []
for (w, h), (W, H) in [((1000, 700), (64, 48)), ((300, 411), (208, 112)), ((13, 9), (64, 48)), ((64, 47), (64, 48)),
                       ((64, 48), (64, 48)), ((65, 48), (64, 48)), ((7, 400), (48, 64)), ((400, 9), (48, 64)), ((2, 2), (112, 208))]:
    y, x, c = np.mgrid[0:h, 0:w, 0:3]
    source = Image.fromarray((((x * x * 7 + y * 13 + x * y * (c + 1) * 3) >> 2) & 255).astype("uint8"))
    cases.append({"from": [w, h], "to": [W, H], "sha256": hashlib.sha256(letterbox(source, W, H).tobytes()).hexdigest()})
json.dump(cases, open("letterbox.json", "w"), indent=1)

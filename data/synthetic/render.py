"""From joints in metres to grey frames: camera, clothes, light, shadows, ground and walls, noise
of the camera.

Knows how things look; knows nothing of actions, of people's names or of files. Painter's algorithm
over about twenty convex body parts, drawn at twice the size inside the figure's bounding box and
averaged down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy import ndarray
from numpy.random import Generator

from data.synthetic.body import JOINT, SIDES, Build, rotate_about_z

WIDTH, HEIGHT = 160, 120
_CENTRE = (WIDTH / 2, HEIGHT / 2)
_SCALE = 2  # supersampling
_SUBPIXEL = 4  # fractional bits of OpenCV's polygon coordinates
_CIRCLE = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 12, endpoint=False)), np.sin(a)], axis=-1)


@dataclass(frozen=True)
class Part:
    """A convex piece of a body: spheres at points between joints, with radii in metres and one
    albedo (0 to 1).

    Each sphere is (joint, joint, share of the second, offset forward, left and up in metres,
    radius).
    """

    spheres: Sequence[tuple[int, int, float, tuple[float, float, float], float]]
    albedo: float
    # metres by which it is drawn as if closer to the camera: a coat hides the legs under it
    nearer: float = 0.0


@dataclass(frozen=True)
class Clothes:
    """Albedos (0 black to 1 white) and cuts of what a person wears."""

    skin: float
    hair: float
    top: float
    legs: float
    shoes: float
    sleeve: float  # how much of the forearm is covered
    loose: float  # girth of the cloth relative to the limb
    coat: float  # length below the hips, in thighs
    hair_size: float
    hat: bool
    bag: str  # "", "back" or "hand"
    bag_albedo: float
    folds: float

    @staticmethod
    def draw(rng: Generator, *, heavy: bool = False, spread: float = 1.0) -> "Clothes":
        """What somebody wears; `heavy` adds a coat, a bag or a hat. Mostly dark against the ground,
        as in KTH."""
        dark = rng.beta(1.1, 2.6, size=3) if rng.random() < 0.8 else rng.beta(1.5, 1.5, size=3)
        top, legs, shoes = 0.06 + dark * (0.85, 0.70, 0.85)
        coat = rng.uniform(0.25, 1.05) if heavy and rng.random() < 0.6 else 0.0
        bag = rng.choice(list(_BAGS), p=[0.4, 0.4, 0.2]) if heavy else ""
        return Clothes(
            skin=rng.uniform(0.42, 0.80),
            hair=0.5 * rng.beta(1.1, 2.5),
            top=top,
            legs=legs,
            shoes=shoes,
            sleeve=1.0 if heavy or rng.random() < 0.65 else rng.uniform(-0.5, 0.5),
            loose=rng.uniform(1.0, 1.25 + 0.1 * spread) + 0.12 * heavy,
            coat=coat,
            hair_size=rng.uniform(0.85, 1.2),
            hat=heavy and rng.random() < 0.3,
            bag=bag,
            bag_albedo=rng.uniform(0.08, 0.7),
            folds=rng.uniform(0.03, 0.10),
        )


# where a bag hangs: joint, offset forward and up, and radius of its upper and of its lower end
_BAGS = {
    "": (),
    "back": (("neck", -0.16, -0.12, 0.10), ("pelvis", -0.17, 0.12, 0.10)),
    "hand": (("right_hand", 0, -0.16, 0.10), ("right_hand", 0, -0.30, 0.12)),
}


def dress(build: Build, clothes: Clothes) -> list[Part]:
    """The parts of a body of this build in these clothes."""
    k, loose = build.stature / 1.75, clothes.loose
    g = build.girth * k
    parts = [*_head(k, clothes), *_torso(g, k, loose, clothes)]
    for side, _ in SIDES:
        parts += _limbs(side, g, loose, clothes)
    return parts


def _at(joint: str, radius: float, offset=(0.0, 0.0, 0.0), to: str = "", share: float = 0.0):
    return (JOINT[joint], JOINT[to or joint], share, offset, radius)


def _head(k: float, clothes: Clothes) -> list[Part]:
    """Neck, hair, face, the crown of the head or a hat; and a bag, for it is described alike."""
    crown, size = clothes.bag_albedo if clothes.hat else clothes.hair, clothes.hair_size
    rows = (
        (clothes.skin * 0.85, 0, (("neck", 0, -0.02, 0.055), ("head", 0, 0, 0.055))),
        (clothes.hair, 0, (("head", -0.015, 0.035, 0.088 * size), ("head", -0.03, -0.02, 0.066))),
        (clothes.skin, 0, (("head", 0.026, 0.002, 0.078), ("head", 0.032, -0.062, 0.056))),
        (crown, -0.02, (("head", -0.01, 0.055, 0.098 * size),)),
        (clothes.bag_albedo, 0, _BAGS[clothes.bag]),
    )
    return [
        Part([_at(joint, r * k, (x * k, 0, z * k)) for joint, x, z, r in spheres], albedo, nearer)
        for albedo, nearer, spheres in rows
        if spheres
    ]


def _torso(g: float, k: float, loose: float, clothes: Clothes) -> list[Part]:
    chest, waist, hips, hem = [], [], [], []
    wide = g * loose
    for side, sign in SIDES:
        for x in (0.0, 0.015):
            chest.append(_at(f"{side}_shoulder", 0.075 * g, (x * k, 0, -0.02 * k), "neck", 0.22))
        chest.append(_at("neck", 0.108 * wide, (0.012 * k, sign * 0.055 * k, -0.16 * k)))
        hip = f"{side}_hip"
        waist.append(_at(hip, 0.098 * wide, (0.005, 0, 0.12 * k)))
        hips.append(_at(hip, 0.098 * wide, (-0.01 * k, 0, 0.01 * k)))
        hem.append(_at(hip, 0.115 * wide, to=f"{side}_knee", share=clothes.coat))
    layers = [(hips, 0.02), (chest, 0.02)] + [(hem, 0.12)] * (clothes.coat > 0)
    return [Part(spheres + waist, clothes.top, nearer) for spheres, nearer in layers]


def _limbs(side: str, g: float, loose: float, clothes: Clothes) -> list[Part]:
    def at(joint: str, radius: float, to: str = "", share: float = 0.0):
        return _at(f"{side}_{joint}", radius * g, to=to and f"{side}_{to}", share=share)

    knee, elbow = at("knee", 0.060 * loose), at("elbow", 0.044 * loose)
    calf, ankle = at("knee", 0.060 * loose, "ankle", 0.3), at("ankle", 0.042 * (2 * loose - 1))
    upper_arm = clothes.top if clothes.sleeve > -0.4 else clothes.skin
    parts = [
        Part((at("hip", 0.088 * loose), knee), clothes.legs),
        Part((knee, calf, ankle), clothes.legs),
        Part((at("heel", 0.036), at("toe", 0.028), at("ankle", 0.036)), clothes.shoes, -0.02),
        Part((at("elbow", 0.036), at("wrist", 0.028)), clothes.skin),
        Part((at("wrist", 0.033), at("hand", 0.040)), clothes.skin),
        Part((at("shoulder", 0.058 * loose), elbow), upper_arm),
    ]
    if clothes.sleeve > 0:
        cuff = at("elbow", 0.037 * loose, "wrist", clothes.sleeve)
        parts.append(Part((elbow, cuff), clothes.top, 0.005))
    return parts


@dataclass(frozen=True)
class Camera:
    """A camera on a tripod: pixels a metre at the origin, distance and height angle, where the
    origin appears."""

    scale: float = 45.0
    distance: float = 14.0
    pitch: float = 0.2
    column: float = 80.0
    row: float = 105.0

    def project(
        self, points: ndarray, zoom: ndarray | float = 1.0
    ) -> tuple[ndarray, ndarray, ndarray]:
        """Columns and rows (..., 2), pixels a metre and depths (...) of points (..., 3); zooms
        about the centre."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        x, y, z = np.moveaxis(points, -1, 0)
        depth = y * cos - z * sin
        scale = self.scale * self.distance / (self.distance + depth)
        column, row = self.column + scale * x, self.row - scale * (y * sin + z * cos)
        offset = np.stack([column, row], axis=-1) - _CENTRE
        return _CENTRE + offset * np.asarray(zoom)[..., None], scale * zoom, depth


@dataclass(frozen=True)
class Light:
    """Where the light comes from (unit vector towards it), how hard it is, how dark shadows are and
    where they fall."""

    towards: tuple[float, float, float] = (0.3, -0.5, 0.8)
    hardness: float = 0.35
    shadow: float = 0.2
    blur: float = 2.0
    wall: float | None = None  # distance of a wall behind the origin that catches the shadow


@dataclass(frozen=True)
class Scene:
    """Everything that stays the same through a clip, the background (HEIGHT, WIDTH) float32 in 0 to
    255 included."""

    camera: Camera
    light: Light
    background: ndarray
    parts: list[Part]
    build: Build
    folds: ndarray
    blur: float
    # how much the camera raises edges: an unsharp mask, as video cameras of the time have it
    crisp: float
    noise: float
    gain: float
    quality: int  # of the JPEG compression
    exposure: float  # grey level of a white surface that faces the light
    zoom: ndarray | None = None  # (F,) or None


def ground(rng: Generator, spread: float = 1.0) -> ndarray:
    """A lawn or a square seen from above: grain stretched sideways, a slow gradient, sometimes a
    strip at the top."""
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    grain = cloud(rng, (rng.uniform(0.3, 0.9), rng.uniform(0.5, 2.5)))
    grain = grain * rng.uniform(2.0, 9.0) * (0.5 + 0.9 * rows)
    patches = cloud(rng, (rng.uniform(1, 4), rng.uniform(8, 40))) * rng.uniform(0.8, 3.5)
    level = rng.normal(131, 9 * spread) + rng.normal(0, 10 * spread) * (rows - 0.5)
    height = rng.uniform(0, 12)
    band = height * np.exp(-(((rows - rng.uniform(0.3, 0.7)) / rng.uniform(0.05, 0.2)) ** 2))
    image = level + grain + patches + band
    if rng.random() < 0.25:
        image[: rng.integers(2, 14)] += rng.normal(25, 25)
    if rng.random() < 0.25 * spread:  # a path or a line on the lawn
        y = rng.integers(0, HEIGHT - 10)
        image[y : y + rng.integers(1, 6)] += rng.normal(0, 14)
    return image.astype(np.float32)


def room(rng: Generator, camera: Camera, wall: float, spread: float = 1.0) -> ndarray:
    """A bright wall over a darker floor, lit from one side; they meet `wall` metres behind the
    origin."""
    edge = float(camera.project(np.array([0.0, wall, 0.0]))[0][1])
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :]
    spot = np.exp(-(((columns - rng.uniform(-0.7, 0.7)) / rng.uniform(0.7, 1.8)) ** 2))
    paint = rng.normal(165, 18 * spread) * (0.55 + 0.45 * spot)
    paint = paint + (rows / HEIGHT - 0.5) * rng.normal(0, 25)
    floor = rng.normal(85, 22 * spread) * (0.7 + 0.3 * spot)
    below = np.clip((rows - edge) + 0.5, 0, 1)
    image = paint * (1 - below) + floor * below
    board = np.clip(1 - abs(rows - edge + 2) / 2, 0, 1) * rng.choice([0.0, -35.0, 30.0])
    return (image + board + cloud(rng, (1.0, 1.0)) * rng.uniform(0.5, 2.0)).astype(np.float32)


def cloud(
    rng: Generator, sigma: tuple[float, float], shape: tuple[int, int] = (HEIGHT, WIDTH)
) -> ndarray:
    """Gaussian noise of unit variance, blurred by sigma (rows, columns) pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma[1], sigmaY=sigma[0])
    return blurred / max(float(blurred.std()), 1e-6)


class Renderer:
    """Draws the frames of one clip: joints (F, J, 3) in metres and the body's heading (F,) in
    radians, in one scene."""

    def __init__(self, scene: Scene, joints: ndarray, heading: ndarray, rng: Generator) -> None:
        self.scene, frames = scene, len(joints)
        self.zoom = np.ones(frames) if scene.zoom is None else scene.zoom
        spheres = [sphere for part in scene.parts for sphere in part.spheres]
        first, second, share, offset, radii = map(np.array, zip(*spheres, strict=True))
        share = share[:, None]
        points = joints[:, first] * (1 - share) + joints[:, second] * share
        points += rotate_about_z(offset, heading[:, None])
        # of each sphere: place (F, S, 2) and radius (F, S) in pixels
        self.pixels, scale, depth = scene.camera.project(points, self.zoom[:, None])
        self.sizes = radii * scale
        self.shadows = self._cast(points)
        beside = self.sizes[..., None]
        inside = (self.pixels + beside > 0) & (self.pixels - beside < (WIDTH, HEIGHT))
        self.visible = inside.all(axis=2).any(axis=1)
        counts = np.array([len(part.spheres) for part in scene.parts])
        ends = np.cumsum(counts)
        self.slices = list(map(slice, ends - counts, ends))
        albedo, nearer = np.array([(part.albedo, part.nearer) for part in scene.parts]).T
        self.depth = np.add.reduceat(depth, ends - counts, axis=1) / counts - nearer  # (F, P)
        self.shade = scene.exposure * albedo
        right, back, up = scene.light.towards
        rise = back * np.sin(scene.camera.pitch) + up * np.cos(scene.camera.pitch)
        self.lit = np.array([right, -rise])  # light in the image plane, rows grow downwards
        grain = rng.standard_normal((HEIGHT + 40, WIDTH + 40), dtype=np.float32)
        self.bank = (0.6 * grain + 0.8 * cloud(rng, (0.7, 0.7), grain.shape)) * scene.noise
        self.rolls = rng.integers(0, 40, size=(frames, 2))
        self.gains = 1 + scene.gain * rng.standard_normal(frames)

    def _cast(self, points: ndarray) -> ndarray:
        """Pixels (F, S, 2) of the spheres' shadows on the ground or on the wall."""
        light = self.scene.light
        _, back, up = light.towards
        if light.wall is None:
            fall = points[..., 2:] / max(up, 0.15)
        else:
            fall = (light.wall - points[..., 1:2]) / max(-back, 0.3)
        return self.scene.camera.project(points - fall * light.towards, self.zoom[:, None])[0]

    def frame(self, f: int) -> ndarray:
        """Frame f as (HEIGHT, WIDTH) uint8."""
        image = self._background(f)
        if self.visible[f]:
            image = self._shadow(image, f)
            self._figure(image, f)
        return self.finish(image, f)

    def finish(self, image: ndarray, f: int) -> ndarray:
        """Blur of the lens, raised edges, noise, gain and compression."""
        scene = self.scene
        image = cv2.GaussianBlur(image, (0, 0), scene.blur) if scene.blur else image
        image = image + np.float32(scene.crisp) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
        y, x = self.rolls[f]
        image = image * np.float32(self.gains[f]) + self.bank[y : y + HEIGHT, x : x + WIDTH]
        image = np.clip(image, 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))

    def empty(self, f: int) -> ndarray:
        """Frame f without the person."""
        return self.finish(self._background(f), f)

    def _background(self, f: int) -> ndarray:
        if self.zoom[f] == 1.0:
            return self.scene.background.copy()
        matrix = cv2.getRotationMatrix2D(_CENTRE, 0, self.zoom[f])
        size, border = (WIDTH, HEIGHT), cv2.BORDER_REFLECT
        return cv2.warpAffine(self.scene.background, matrix, size, borderMode=border)

    def _shadow(self, image: ndarray, f: int) -> ndarray:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        outlines = _outlines(self.shadows[f], self.sizes[f])
        for part in self.slices:
            _fill(mask, outlines[part], 255)
        soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), self.scene.light.blur))
        return image * (1 - np.float32(self.scene.light.shadow / 255) * soft)

    def _figure(self, image: ndarray, f: int) -> None:
        pixels, radii = self.pixels[f], self.sizes[f]
        low = np.floor((pixels - radii[:, None]).min(axis=0) - 3).astype(int).clip(0)
        high = np.ceil((pixels + radii[:, None]).max(axis=0) + 3).astype(int)
        high = high.clip(None, (WIDTH, HEIGHT))
        box = image[low[1] : high[1], low[0] : high[0]]
        canvas = cv2.resize(box, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)
        behind = canvas.copy()
        places, sizes, hardness = (pixels - low) * _SCALE, radii * _SCALE, self.scene.light.hardness
        # from the dark rim to the bright spot, each smaller than the last and nearer to the light
        looks = ((0, 1, 1 - hardness), (0.22, 0.74, 1), (0.42, 0.42, 1 + 0.4 * hardness))
        layers = [
            (_outlines(places + shift * sizes[:, None] * self.lit, sizes * grown), brightness)
            for shift, grown, brightness in looks
        ]
        for part in np.argsort(-self.depth[f], kind="stable"):
            for outlines, brightness in layers:
                _fill(canvas, outlines[self.slices[part]], self.shade[part] * brightness)
        top = np.round(places[0]).astype(int) % 16  # folds move with the body
        folds = self.scene.folds[top[1] :, top[0] :][: canvas.shape[0], : canvas.shape[1]]
        # where the drawing changed the image there is a body: no second mask has to be drawn
        canvas = np.where(canvas != behind, canvas * folds, behind)
        box[:] = cv2.resize(canvas, (high - low).tolist(), interpolation=cv2.INTER_AREA)


def _outlines(centres: ndarray, radii: ndarray) -> ndarray:
    """Points (S, P, 2) on circles (pixels), in the fractions of a pixel that OpenCV draws with; all
    circles at once."""
    points = centres[:, None] + radii[:, None, None] * _CIRCLE
    return np.round(points * (1 << _SUBPIXEL)).astype(np.int32)


def _fill(canvas: ndarray, outlines: ndarray, value: float) -> None:
    """Fill the convex hull of circles' outlines (S, P, 2) with one grey value."""
    hull = cv2.convexHull(outlines.reshape(-1, 2))
    cv2.fillConvexPoly(canvas, hull, value, cv2.LINE_8, _SUBPIXEL)


def folds_texture(rng: Generator, strength: float) -> ndarray:
    """Factors around 1 that make cloth uneven, large enough for the largest figure."""
    shape = (HEIGHT * _SCALE + 32, WIDTH * _SCALE + 32)
    return (1 + strength * cloud(rng, (5.0, 2.5), shape)).astype(np.float32)

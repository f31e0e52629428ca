"""Name the action in a video without torch: `python predict_onnx.py MODEL.onnx VIDEO`."""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
told = json.loads(session.get_modelmeta().custom_metadata_map["recogniser"])
shown, sampler = told["shown"], told["shown"]["sampler"]
if (shown["reader"]["name"], sampler["name"]) != ("GreyFrames", "fixed_stride"):
    sys.exit("this model is shown more than whole frames at a fixed stride: use har.py predict")
high, wide = shown["transform"]["size"]
video, frames = cv2.VideoCapture(sys.argv[2]), []
fps = video.get(cv2.CAP_PROP_FPS) or 25
while (read := video.read())[0]:
    grey = cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)
    down, across = (
        max(0, n) // 2
        for n in np.subtract(  # proportions stay
            (round(grey.shape[1] * high / wide), round(grey.shape[0] * wide / high)), grey.shape
        )
    )
    grey = cv2.copyMakeBorder(grey, down, down, across, across, cv2.BORDER_REPLICATE)
    frames.append(cv2.resize(grey, (wide, high), interpolation=cv2.INTER_AREA))
steps = np.rint(np.arange(sampler["frames"]) * sampler["seconds"] * fps).astype(int)
steps = steps[steps < len(frames)]
stride, offset = (max(1, round(s * fps)) for s in (sampler["seconds"], shown["frame_offset"]))
starts = np.arange(0, len(frames) - steps[-1], max(1, round((steps[-1] + 1) / 4 / stride)) * stride)
around = np.array([-offset, 0, offset] if shown["frame_offset"] else [0])
clips = (starts[:, None, None] + steps[:, None] + around).clip(0, len(frames) - 1)  # (N, T, C)
clips = np.array(frames, np.float32)[clips] / 255  # (N, T, C, H, W)
moved = np.abs(np.diff(clips[:, :, len(around) // 2], axis=1))  # empty ground is left out
moved = np.quantile(moved, 0.99, axis=(2, 3)).min(1)
(logits,) = session.run(None, {"clip": clips[moved >= 0.8 * moved.max()]})
probs = np.exp(logits - logits.max(1, keepdims=True))
probs = (probs / probs.sum(1, keepdims=True)).mean(0)
for name, probability in sorted(
    zip(told["classes"], probs, strict=True), key=lambda pair: -pair[1]
):
    print(f"{name:<14}{probability:7.1%}")

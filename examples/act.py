"""Act by what minidqn learned, with NumPy and safetensors alone: see docs/deploy.md."""

import json
import sys

import numpy as np
from safetensors import safe_open


class Policy:
    def __init__(self, path):
        file = safe_open(path, "numpy")
        self.header = json.loads(file.metadata()["minidqn"])
        self.get = file.get_tensor
        self.low, self.high = self.get("space_low"), self.get("space_high")
        self.kinds, sizes, self.relus = zip(*self.header["layers"], strict=True)
        self.params = np.split(file.get_tensor("params"), np.cumsum(sizes)[:-1])
        if self.header.get("own_network") or self.header["config"].get("conv"):
            raise ValueError(f"{path}: runs no images, no own network: {self.kinds}")

    def act(self, obs, mask=None):
        x = np.array(obs, np.float32).reshape(-1, *self.low.shape)  # a row a frame
        for kind, relu, params in zip(self.kinds, self.relus, self.params, strict=True):
            if kind == "Normalize":
                known = (self.low > -1e6) & (self.low < self.high) & (self.high < 1e6)
                low, high = 1.0 * self.low[known], self.high[known]
                x[:, known] = 2 * (x[:, known] - low) / (high - low) - 1
            elif kind == "RunningNormalize":
                variance = self.get("obs_squares") / self.get("obs_count")
                x = (x - self.get("obs_mean")) / np.sqrt(variance + 1e-8)
                x = np.clip(x, -10, 10)
            elif kind == "LayerNorm":
                gain, bias = params.reshape(2, -1)
                x = gain * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + bias
            elif kind not in ("Flatten", "Dueling"):
                copies = {"Linear": 1, "NoisyLinear": 2}[kind]  # means, then noise
                x = np.append(x, 1) @ params.reshape(copies, x.size + 1, -1)[0]
            x = np.maximum(x, 0) if relu else x
        q = x.reshape(-1, self.header["config"]["quantiles"]).mean(axis=1)
        q = q[-self.header["n_actions"] :]  # dueling: V comes first, the same for all
        return int(np.where(mask is None or mask, q, -np.inf).argmax())


if __name__ == "__main__":
    try:
        print(Policy(sys.argv[1]).act(sys.argv[2:]))
    except (IndexError, OSError, ValueError) as error:
        sys.exit(f"usage: python act.py POLICY NUMBER ... ({error})")

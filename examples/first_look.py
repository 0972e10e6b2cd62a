"""Faces, what the smallest and the largest network make of them, and what the champion flags.

Run it in the project, or name the project: ``python examples/first_look.py ../faces``. It prints
a table and writes ``first_look.png`` where you stand. The cells (``# %%``) run one by one in
editors that know them.
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

import clarity

project = clarity.open(sys.argv[1] if len(sys.argv) > 1 else None)
table = project.comparison().sort_values("parameters")
print(table[["model", "parameters", "latent", "test_haarpsi", "test_mse", "auroc"]].to_string())

# %% The same unseen faces by both ends of the table, PCA left out.
networks = table.loc[table["family"] != "pca", "model"]
names = [networks.iloc[0], networks.iloc[-1]]
normals, anomalies = project.images("test"), project.images("test", anomalous=True)
faces = normals[:: max(1, len(normals) // 6)][:6]
rows = {"original": faces} | {name: project.load(name).reconstruct(faces) for name in names}

# %% What the champion says of six anomalies.
champion = project.champion()
strange = anomalies[:: max(1, len(anomalies) // 6)][:6]
said = champion.score(strange)
rows |= {"anomalies": strange, "by the champion": champion.reconstruct(strange)}
print(f"{champion.label} flags {said['anomaly'].sum()} of {len(said)} anomalies shown and")
print(f"{champion.score(np.asarray(normals))['anomaly'].mean():.1%} of the unseen normal images")

# %%
figure, axes = plt.subplots(len(rows), 6, figsize=(8, 1.35 * len(rows)), squeeze=False)
for line, (label, images) in zip(axes, rows.items(), strict=True):
    for axis in line:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for axis, image in zip(line, images, strict=False):
        axis.imshow(image)
    line[0].set_ylabel(label, rotation=0, ha="right", va="center")
for axis, row in zip(axes[list(rows).index("anomalies")], said.itertuples(), strict=False):
    axis.set_title(f"{row.score:.3g}{', flagged' if row.anomaly else ''}", fontsize=9)
figure.tight_layout()
figure.savefig("first_look.png", dpi=120)
print("first_look.png")

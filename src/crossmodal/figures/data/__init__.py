"""What figures need from heavy artefacts (models, predictions, images), as small files of figure_data/."""

"""Solução 9: um terceiro formato de fio, com vírgulas: `mensagem,Ana,"Olá, tudo bem?"`.

A interface é a de `Formato`, e é só isto que um formato novo tem de dizer: como um comando vira linha,
e como uma linha vira comando. O módulo `csv` cuida das aspas. Nem as filas nem as conexões sabem dele.
"""

import csv
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import protocolo  # noqa: E402
from protocolo import (  # noqa: E402
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Formato,
    Mensagem,
    Pergunta,
    Resposta,
    Tipo,
)


def celulas(linha: str) -> list[str]:
    """As células de uma linha; da que está em branco, uma célula vazia."""
    return next(csv.reader([linha])) or [""]  # de uma linha vazia o `csv` tira célula nenhuma


def formato_de(inicio: bytes) -> Formato:
    """O formato de uma conexão. Só o primeiro byte conta: o primeiro `recv` pode não trazer mais do que ele."""
    return Virgulas() if inicio[:1] in (b"c", b"a") else protocolo.formato_de(inicio)


class Virgulas(Formato):
    maximo = 3 * Formato.maximo  # cada aspa vira duas, e há os nomes

    def codificar(self, comando: Comando) -> bytes:
        match comando:  # um Python velho desiste aqui: use o 3.10
            case Mensagem(nome, textos):
                linhas = [("mensagem", nome, texto) for texto in textos]
            case Fila(posicao):
                linhas = [("fila", "" if posicao is None else posicao)]
            case Conectado(nome):
                linhas = [("conectado", nome)]
            case Fim(mensagem):
                linhas = [("fim", mensagem)]
            case Aviso(mensagem):
                linhas = [("aviso", mensagem)]
            case Pergunta(campo, opcoes):
                linhas = [(campo, *opcoes)]
            case Entrada(tipo):
                linhas = [(tipo.value.lower(),)]
            case Resposta(campo, texto):
                linhas = [(campo, texto)]
            case _:
                raise ValueError(f"{comando} não tem forma no fio")
        texto = io.StringIO()
        csv.writer(texto, lineterminator="\n").writerows(linhas)
        return texto.getvalue().encode("utf-8", "replace")

    def ler_entrada(self, linha: str | None) -> Entrada:
        tipo, *_ = celulas(linha or "")
        try:
            return Entrada(Tipo(tipo.upper()))
        except ValueError:
            raise ValueError("Tipo inválido: a primeira célula é cliente ou atendente.") from None

    def ler_resposta(self, campo: str, linha: str | None) -> Resposta:
        chave, *valores = celulas(linha or "")
        if chave != campo or len(valores) != 1:
            raise ValueError(f"Resposta inválida: esperava {campo} e um valor.")
        return Resposta(campo, valores[0])

    def _ler_do_participante(self, linha: str) -> Comando | str | None:
        match celulas(linha):
            case ["mensagem", texto]:
                return texto if texto.strip() else None
            case ["fim", *_]:
                return Fim()
            case [celula] if not celula.strip():
                return None
        return Aviso(f"Não entendi: {linha[:40]}")

    def _ler_do_servidor(self, linha: str) -> Comando | None:
        match celulas(linha):
            case ["mensagem", nome, texto]:
                return Mensagem(nome, (texto,))
            case ["fila", posicao] if not posicao or posicao.isdecimal():
                return Fila(int(posicao) if posicao else None)
            case ["conectado", nome]:
                return Conectado(nome)
            case ["fim", mensagem]:
                return Fim(mensagem)
            case ["aviso", mensagem]:
                return Aviso(mensagem)
            case [("nome" | "senha" | "departamento") as campo, *opcoes]:
                return Pergunta(campo, tuple(opcoes))
        return None

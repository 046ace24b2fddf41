"""Como os três programas são chamados, e as cores do que eles mostram."""

import argparse
import contextlib
import os
import re
from collections.abc import Callable
from typing import NoReturn, TextIO

from protocolo import PORTA_PADRAO, limpar, validar_nome

try:
    import colorama
    from colorama import just_fix_windows_console
except ImportError:  # não está instalada, ou é mais velha que a 0.4.6: no Windows, sem cores
    colorama = None

# --- Argumentos ---------------------------------------------------------------------------------


class Analisador(argparse.ArgumentParser):
    """O `ArgumentParser` em português. Uso errado termina o programa com código 2."""

    _TRADUCOES = {
        r"unrecognized arguments: (.*)": r"opção desconhecida: \1",
        r"argument (\S+): expected one argument": r"a opção \1 precisa de um valor",
        r"argument (\S+): ignored explicit argument .*": r"a opção \1 não recebe valor",
        r"argument (\S+): (.*)": r"\1: \2",
    }

    def __init__(self, descricao: str) -> None:
        super().__init__(description=descricao, add_help=False, allow_abbrev=False, usage="%(prog)s [opções]")
        self.formatter_class = _Ajuda
        self._grupo = self.add_argument_group("opções")
        self._grupo.add_argument("-h", "--ajuda", "--help", action="help", help="mostra esta ajuda")

    def opcao(
        self,
        nome: str,
        padrao: object,
        ajuda: str,
        tipo: Callable[[str], object] = str,
        mostrar_padrao: bool = True,
    ) -> None:
        """Acrescenta uma opção com valor; o padrão, se houver, aparece na ajuda."""
        if padrao is not None and mostrar_padrao:
            ajuda += f" (padrão: {padrao:g})" if isinstance(padrao, float) else f" (padrão: {padrao})"
        self._grupo.add_argument(nome, default=padrao, type=tipo, help=ajuda, metavar="VALOR")

    def chave(self, nome: str, ajuda: str) -> None:
        """Acrescenta uma opção sem valor: presente ou ausente."""
        self._grupo.add_argument(nome, action="store_true", help=ajuda)

    def error(self, message: str) -> NoReturn:
        for original, traducao in self._TRADUCOES.items():
            if re.fullmatch(original, message):
                message = re.sub(original, traducao, message)
                break
        self.exit(2, f"{self.prog}: {message}\nUse --ajuda para ver as opções.\n")


class _Ajuda(argparse.HelpFormatter):
    def add_usage(self, usage, actions, groups, prefix=None):
        super().add_usage(usage, actions, groups, "uso: ")


def inteiro(minimo: int, maximo: int) -> Callable[[str], int]:
    """Um tipo de argumento: inteiro de `minimo` a `maximo`."""

    def converter(texto: str) -> int:
        if not (texto.isascii() and texto.isdigit() and minimo <= int(texto) <= maximo):
            raise argparse.ArgumentTypeError(f"use um inteiro de {minimo} a {maximo}, e não {texto!r}")
        return int(texto)

    return converter


def segundos(texto: str) -> float:
    """Um tipo de argumento: segundos, acima de zero; vale fração."""
    with contextlib.suppress(ValueError):
        valor = float(texto.replace(",", "."))
        if 0 < valor <= 86_400:
            return valor
    raise argparse.ArgumentTypeError(f"use segundos, acima de zero e até um dia, e não {texto!r}")


def valido(validar: Callable[[str], object]) -> Callable[[str], object]:
    """Um tipo de argumento: o que `validar` devolve; o `ValueError` dele é o erro de uso."""

    def converter(texto: str) -> object:
        try:
            return validar(texto)
        except ValueError as erro:
            raise argparse.ArgumentTypeError(str(erro)) from None

    return converter


def departamento_escrito(texto: str) -> str:
    """Um tipo de argumento: um departamento, que só o servidor sabe se existe."""
    departamento = limpar(texto).strip()
    if not departamento:
        raise argparse.ArgumentTypeError("diga o nome de um departamento")
    return departamento


def senha_valida(texto: str) -> str:
    """Um tipo de argumento: a senha como chegará pelo fio, já limpa."""
    senha = limpar(texto)
    try:
        senha.encode()
    except UnicodeEncodeError:
        senha = ""
    if not senha:
        raise argparse.ArgumentTypeError("a senha precisa ter ao menos um caractere que se possa digitar")
    return senha


def caminho_escrito(texto: str) -> str:
    """Um tipo de argumento: o caminho de um arquivo. Vazio é uma variável que ninguém definiu."""
    if not texto:
        raise argparse.ArgumentTypeError("diga o nome do arquivo")
    return texto


def analisador_de_conversa(descricao: str, departamento: str) -> Analisador:
    """As opções de `cliente.py` e de `atendente.py`; `departamento` explica a opção desse nome."""
    analisador = Analisador(descricao)
    analisador.opcao("--host", "127.0.0.1", "endereço do servidor")
    analisador.opcao("--porta", PORTA_PADRAO, "porta do servidor", tipo=inteiro(1, 65535))
    analisador.opcao("--nome", None, "o seu nome; sem ele, o programa pergunta", tipo=valido(validar_nome))
    analisador.opcao("--departamento", None, departamento, tipo=departamento_escrito)
    analisador.chave("--json", "fala com o servidor em JSON, e não em texto")
    analisador.chave("--sem-som", "não toca o terminal quando uma conversa começa")
    return analisador


# --- Cores --------------------------------------------------------------------------------------

_CODIGOS = {"vermelho": 31, "verde": 32, "amarelo": 33, "azul": 34, "magenta": 35, "ciano": 36}  # ANSI


def usar_cores(saida: TextIO) -> bool:
    """Diz se `saida` merece cores, e prepara o console do Windows para elas."""
    if not saida.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if os.name == "nt" and colorama is None:
        return False
    if colorama is not None:
        just_fix_windows_console()
    return True


def colorir(texto: str, cor: str | None, cores: bool) -> str:
    """Devolve `texto` na cor dada, se `cores`; sem isso, ele mesmo."""
    return f"\x1b[{_CODIGOS[cor]}m{texto}\x1b[0m" if cores and cor else texto
